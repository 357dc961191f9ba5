//! English sentences of agents and the bot that fit any topic.

use super::english_topics::ANSWERS;
use super::{Phrases, TextKind, Topic};

const OPENERS: &[&str] = &[
    "Hello, and thank you for contacting us.",
    "Hi, thanks for your message.",
    "Good day, I am happy to help.",
    "Thank you for waiting.",
    "Thanks for the details.",
    "Hello, I have looked into this for you.",
    "Hi, I hope you are well.",
    "Thank you for getting in touch.",
    "I have good news.",
    "Of course.",
    "Certainly, I can help with that.",
    "Thank you for your patience.",
];
const CLOSERS: &[&str] = &[
    "Is there anything else I can do for you?",
    "Please let me know if that works.",
    "I am here if you have more questions.",
    "Have a nice day.",
    "Kind regards from the support team.",
    "Do not hesitate to write again.",
    "I hope this helps.",
    "We are glad to help any time.",
    "Enjoy your {product}.",
    "Best regards.",
];
const APOLOGY_OPENERS: &[&str] = &[
    "I am very sorry for the trouble.",
    "I apologise for the long wait.",
    "I am sorry to hear that.",
    "I understand your frustration and apologise.",
    "Please accept our apologies.",
    "I am sorry that we let you down.",
    "That should not have happened, I apologise.",
    "I can see why this is upsetting, and I am sorry.",
];
const APOLOGIES: &[&str] = &[
    "I am sorry, I will take care of this right away.",
    "I apologise, I have given your case priority.",
    "I am sorry, as an apology I have credited {amount} to your account.",
    "I regret the delay and have escalated order {order} to the warehouse.",
    "I am sorry, a new {product} will leave on {day} at no cost.",
    "My apologies, I have asked my team lead to review this today.",
    "I am sorry, I will follow up with the carrier in {city} and come back to you by {day}.",
    "I apologise, the correction is done and you will see it by {date}.",
    "I am sorry for the confusion, I have now checked everything from the start.",
    "We are sorry, our team has been very busy and I will stay with you until this is solved.",
    "I apologise for the wait, let me solve this for you now.",
    "I am sorry, I have refunded the shipping of {amount}.",
    "I am sorry, this was our mistake and I have put it right.",
    "I apologise, you will get a written confirmation within {n} hours.",
];
const FOLLOW_UPS: &[&str] = &[
    "Could you please tell me the order number?",
    "May I ask for the email address of your account?",
    "Could you send me a photo of the {product}?",
    "On which day did you place the order?",
    "Could you please try that once more and tell me what you see?",
    "Which device do you use?",
    "May I have your postcode, please?",
    "Would {day} suit you?",
    "Could you confirm the address in {city}?",
    "Which version of the app do you use?",
    "Did you receive an email from us on {date}?",
    "Would a replacement or a refund suit you better?",
    "Could you check whether the light is on?",
    "May I put you on hold for {n} minutes while I check?",
    "Could you tell me the amount that was charged?",
    "Is the serial number on the bottom readable?",
];
const CLOSINGS: &[&str] = &[
    "You are welcome, have a great day!",
    "Glad I could help.",
    "My pleasure.",
    "You are very welcome, take care.",
    "Happy to help any time.",
    "Thank you for your kind words, goodbye.",
    "Great that it works now, I will close the case.",
    "Thanks for being our customer.",
    "Wonderful, enjoy the {product}.",
    "Thank you, we wish you a nice {day}.",
    "It was a pleasure, goodbye.",
    "All the best to {city}.",
    "I am closing this case, just write again if you need us.",
    "Thank you for the feedback.",
];
const BOT_ANSWERS: &[&str] = &[
    "I am the virtual assistant. Order {order} is on its way and will arrive on {day}.",
    "I found this article for you: returns within 30 days are free.",
    "You can reset your password with the link I have just sent.",
    "Your invoice is in your profile under documents.",
    "Deliveries to {city} take {n} working days.",
    "The manual of the {product} is on our help page.",
    "Your next payment of {amount} is due on {date}.",
    "You can change your plan in your profile at any time.",
    "To reset the {product}, hold the button for {n} seconds.",
    "Our support team is available every day from 7 to 21.",
    "The return label was sent to your email address.",
    "Your case has the number {order}.",
];
const BOT_HANDOFFS: &[&str] = &[
    "I am the virtual assistant and will connect you to a colleague.",
    "I am not sure about this one, let me get a human.",
    "One moment please, I am handing you over to our team.",
    "An agent will be with you shortly.",
    "I could not find an answer, a colleague will take over.",
    "Let me connect you to a specialist.",
    "Thank you, I am passing this on to our team.",
    "I have added you to the queue.",
];
const NOTES: &[&str] = &[
    "Checked order {order}, warehouse confirms {day}.",
    "Customer called before, see previous case.",
    "Refund of {amount} approved by team lead.",
    "Waiting for the carrier in {city}.",
    "Replacement {product} ordered.",
    "Please handle with care, customer waited {n} days.",
    "Same issue as last week, linked to the known bug.",
    "Address verified.",
    "Asked billing for the invoice of {date}.",
    "Escalated to second level.",
    "Customer prefers a call on {day}.",
    "Goodwill credit of {amount} possible.",
    "Photos received, warranty applies.",
    "Not our fault, but let us help.",
    "Follow up on {date}.",
    "Duplicate of {order}.",
];

/// The sentences of a kind of text by an agent or the bot.
pub(super) fn phrases(kind: TextKind, topic: Topic) -> Phrases {
    let (openers, cores, closers): (&[&str], &[&str], &[&str]) = match kind {
        TextKind::AgentApology => (APOLOGY_OPENERS, APOLOGIES, CLOSERS),
        TextKind::AgentFollowUp => (OPENERS, FOLLOW_UPS, &[]),
        TextKind::AgentClosing => (&[], CLOSINGS, &[]),
        TextKind::BotAnswer => (&[], BOT_ANSWERS, &[]),
        TextKind::BotHandoff => (&[], BOT_HANDOFFS, &[]),
        TextKind::PrivateNote => (&[], NOTES, &[]),
        _ => (OPENERS, ANSWERS[topic as usize], CLOSERS),
    };
    Phrases { openers, cores, closers }
}
