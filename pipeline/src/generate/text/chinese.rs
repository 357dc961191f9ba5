//! Chinese sentences that fit any topic.

use super::chinese_topics::{ANSWERS, COMPLAINTS, QUESTIONS};
use super::{Phrases, TextKind, Topic};

const NEUTRAL_OPENERS: &[&str] = &["你好，", "您好，", "请问一下，", "想咨询一下，", "客服你好，", "在吗？"];
const NEUTRAL_CLOSERS: &[&str] = &["麻烦回复一下。", "谢谢。", "等您回复。", "订单号是{order}。", "不着急。"];
const NEGATIVE_OPENERS: &[&str] = &["太失望了！", "你们怎么回事？", "真是无语！", "忍无可忍！", "开什么玩笑？"];
const NEGATIVE_CLOSERS: &[&str] =
    &["马上给我解决！", "我要投诉！", "再也不买了。", "叫你们经理来。", "今天必须给我答复！"];
const WAITING: &[&str] = &[
    "有人吗？怎么没人回复？",
    "等了{minutes}分钟了，太慢了！",
    "还要等多久啊，烦死了。",
    "为什么一直不理我？",
    "客服都去哪了？真差劲。",
    "一直没人回复，太让人失望了。",
    "我没那么多时间等，快点！",
    "你们到底看不看消息？",
    "又让我等，服务太差了。",
    "等到现在都没有答复，很生气。",
];
const DETAILS: &[&str] = &[
    "订单号是{order}。",
    "是{date}下的单。",
    "我在{city}。",
    "是{product}。",
    "付了{amount}。",
    "照片已经发了。",
    "对，是的。",
    "还没有试过。",
    "好的，我看一下。",
    "{day}方便。",
    "一共{n}件。",
    "跟之前一样。",
];
const THANKS: &[&str] = &[
    "太好了，谢谢你！",
    "非常感谢，问题解决了。",
    "回复真快，谢谢！",
    "谢谢，服务很好！",
    "可以用了，太棒了！",
    "辛苦了，非常满意。",
    "谢谢你的耐心解答。",
    "完美，多谢！",
    "太贴心了，感谢。",
    "收到了，很开心，谢谢。",
    "解决得真快，给你点赞！",
    "好的，谢谢，祝你工作顺利！",
];
const THANKS_CLOSERS: &[&str] = &["给五星好评！", "下次还会再来。", "祝生活愉快！"];
const RETURNS: &[&str] = &[
    "问题还是没解决，很生气。",
    "又坏了，真让人失望。",
    "怎么就关闭了？根本没处理好！",
    "说好的{amount}退款还是没到，太差了。",
    "跟上次一样的毛病，烦死了。",
    "{n}天了还是没消息，太过分了。",
    "你们说修好了，其实没有。",
    "又要重新说一遍，太麻烦了。",
];
const OPENERS: &[&str] =
    &["您好，感谢您的咨询。", "您好，很高兴为您服务。", "感谢您的耐心等待。", "好的，", "您好，已为您查询。"];
const CLOSERS: &[&str] = &["请问还有其他可以帮您的吗？", "祝您生活愉快。", "有问题随时联系我们。", "希望能帮到您。"];
const APOLOGIES: &[&str] = &[
    "非常抱歉给您带来不便，我马上为您处理。",
    "很抱歉让您久等了，已为您加急。",
    "实在对不起，已为您补偿{amount}。",
    "抱歉，这是我们的失误，现在已经更正。",
    "非常抱歉，新的{product}{day}免费为您寄出。",
    "理解您的心情，非常抱歉，我会一直跟进到解决为止。",
    "抱歉，订单{order}已经联系仓库优先处理。",
];
const FOLLOW_UPS: &[&str] = &[
    "请问您的订单号是多少？",
    "麻烦您提供一下账号邮箱。",
    "可以发一张{product}的照片吗？",
    "请问{day}方便吗？",
    "麻烦您再试一次，看看显示什么？",
    "请问收货地址是在{city}吗？",
    "请问您想要换货还是退款？",
    "请问是哪一天下的单？",
];
const CLOSINGS: &[&str] = &[
    "不客气，祝您生活愉快！",
    "很高兴能帮到您。",
    "感谢您的支持，再见。",
    "不用谢，有需要随时联系。",
    "感谢您的好评，祝您{day}愉快。",
];
const BOT_ANSWERS: &[&str] = &[
    "我是智能助手。订单{order}正在派送，预计{day}送达。",
    "为您找到：30天内可免费退货。",
    "重置密码的链接已发送。",
    "发到{city}需要{n}个工作日。",
    "发票可以在个人中心下载。",
    "请长按按键{n}秒重置{product}。",
];
const BOT_HANDOFFS: &[&str] =
    &["正在为您转接人工客服。", "这个问题我还不会，为您转人工。", "请稍候，客服马上为您服务。", "已为您排队，请稍等。"];
const NOTES: &[&str] = &[
    "已核实订单{order}，仓库确认{day}。",
    "退款{amount}组长已批准。",
    "客户之前来过，见上一单。",
    "等{city}快递回复。",
    "已升级到二线。",
    "客户等了{n}天，优先处理。",
];
const RATING_GOOD: &[&str] = &[
    "服务很好，非常满意。",
    "回复快，态度好。",
    "客服很耐心，点赞。",
    "解决得很快，谢谢。",
    "体验很棒！",
    "五星好评。",
    "很专业，推荐。",
];
const RATING_MIXED: &[&str] = &["还行吧。", "一般。", "解决了，就是有点慢。", "态度可以，流程复杂。", "马马虎虎。"];
const RATING_BAD: &[&str] = &[
    "服务太差了。",
    "等太久了，很失望。",
    "没解决问题，差评。",
    "态度不好，生气。",
    "浪费时间。",
    "答非所问，太糟糕了。",
    "再也不来了，垃圾。",
];

/// The sentences of a kind of text.
pub(super) fn phrases(kind: TextKind, topic: Topic) -> Phrases {
    let (openers, cores, closers): (&[&str], &[&str], &[&str]) = match kind {
        TextKind::CustomerQuestion => (NEUTRAL_OPENERS, QUESTIONS[topic as usize], NEUTRAL_CLOSERS),
        TextKind::CustomerComplaint => (NEGATIVE_OPENERS, COMPLAINTS[topic as usize], NEGATIVE_CLOSERS),
        TextKind::CustomerWaiting => (&[], WAITING, NEGATIVE_CLOSERS),
        TextKind::CustomerDetail => (&[], DETAILS, &[]),
        TextKind::CustomerThanks => (&[], THANKS, THANKS_CLOSERS),
        TextKind::CustomerReturns => (NEGATIVE_OPENERS, RETURNS, NEGATIVE_CLOSERS),
        TextKind::AgentAnswer => (OPENERS, ANSWERS[topic as usize], CLOSERS),
        TextKind::AgentApology => (&[], APOLOGIES, CLOSERS),
        TextKind::AgentFollowUp => (OPENERS, FOLLOW_UPS, &[]),
        TextKind::AgentClosing => (&[], CLOSINGS, &[]),
        TextKind::BotAnswer => (&[], BOT_ANSWERS, &[]),
        TextKind::BotHandoff => (&[], BOT_HANDOFFS, &[]),
        TextKind::PrivateNote => (&[], NOTES, &[]),
        TextKind::RatingGood => (&[], RATING_GOOD, THANKS_CLOSERS),
        TextKind::RatingMixed => (&[], RATING_MIXED, &[]),
        TextKind::RatingBad => (&[], RATING_BAD, &[]),
    };
    Phrases { openers, cores, closers }
}
