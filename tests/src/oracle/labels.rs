//! What raters say of messages and conversations (rules 63 to 65).

use super::contribution::{Contribution, What, When};
use super::conversation::{Conversation, last_replier, owner_after};
use super::event::Event;
use super::heads::Heads;
use super::message::{author_if_agent, is_message};
use super::messages::turn_text;
use super::windows::window;
use crate::model::{Cell, Table, Width};
use chrono_tz::Tz;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A label that stands, with what it is about.
pub(super) struct Label<'c, 'a> {
    conversation: &'c Conversation<'a>,
    /// Its event.
    event: &'a Event,
    /// The message, if it is about one.
    message: Option<&'a Event>,
}

/// The head that a label is for.
fn head(label: &str) -> Option<&'static str> {
    match label {
        "sentiment" => Some("sentiment"),
        "emotion" | "tone" => Some("emotion"),
        "offensive" => Some("offensive"),
        "intent" => Some("intent"),
        _ => None,
    }
}

fn not_empty<'e>(event: &'e Event, column: &str) -> Option<&'e str> {
    event.text(column).filter(|text| !text.is_empty())
}

/// Whether a label says something that a rule reads.
fn is_read(kind: &str, text: &dyn Fn(&str) -> Option<String>) -> bool {
    let has = |column: &str| text(column).is_some_and(|text| !text.is_empty());
    let (Some(label), Some(value)) = (text("label"), text("value")) else { return false };
    let is_about = has("conversation_id") || has("message_id");
    let is_class = head(&label).is_some() && (1..=64).contains(&value.len());
    let is_grade = head(&label).is_none()
        && kind == "qa_label"
        && !label.is_empty()
        && ["pass", "fail", "na"].contains(&value.as_str());
    is_about && (is_class || is_grade)
}

/// Whether the row of a label has a weight that cannot be one.
pub(super) fn has_bad_weight(kind: &str, fields: &Map<String, Value>) -> bool {
    let text = |column: &str| fields.get(column).and_then(Value::as_str).map(str::to_owned);
    let is_graded = kind == "qa_label"
        && is_read(kind, &text)
        && text("label").is_some_and(|label| head(&label).is_none())
        && text("value").is_some_and(|value| value != "na");
    is_graded && weight(fields.get("attributes")).is_none()
}

/// The weight in thousandths; `None` for what is none.
fn weight(attributes: Option<&Value>) -> Option<i64> {
    let attributes = match attributes {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(other) => other.clone(),
        None => Value::Null,
    };
    let weight = match attributes.get("weight") {
        None | Some(Value::Null) => 1.0,
        Some(Value::String(text)) => text.parse().ok()?,
        Some(number) => number.as_f64()?,
    };
    let milli = (weight * 1000.0).round();
    (1.0..=1_000_000.0).contains(&milli).then_some(milli as i64)
}

/// The labels of all conversations that count.
pub(super) fn labels<'c, 'a>(events: &'a [Event], conversations: &'c [Conversation<'a>]) -> Vec<Label<'c, 'a>> {
    let text_of = |event: &Event| {
        let event = event.clone();
        move |column: &str| event.text(column).map(str::to_owned)
    };
    let mut said: Vec<&'a Event> = events
        .iter()
        .filter(|event| event.is("qa_label") || event.is("score_label"))
        .filter(|event| is_read(&event.content.kind, &text_of(event)))
        .collect();
    said.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut found = Vec::new();
    for conversation in conversations.iter().filter(|one| one.counts()) {
        for home in homes(conversation, conversations) {
            // Of what is said of one thing by one rater the last stands.
            let mut standing = BTreeMap::<(Option<&str>, &str, Option<&str>), &'a Event>::new();
            for event in said.iter().copied() {
                let named = not_empty(event, "conversation_id");
                let is_here = named.map_or_else(
                    || message(conversation, home, not_empty(event, "message_id")).is_some(),
                    |named| named == home,
                );
                if event.identity.tenant == conversation.tenant && is_here {
                    let label = event.text("label").unwrap_or_default();
                    let key = (not_empty(event, "message_id"), head(label).unwrap_or(label), not_empty(event, "rater"));
                    standing.insert(key, event);
                }
            }
            for ((message_id, _, _), event) in standing {
                let message = message(conversation, home, message_id);
                if message_id.is_none() || message.is_some() {
                    found.push(Label { conversation, event, message });
                }
            }
        }
    }
    found
}

/// The conversation itself and those whose events count in it.
fn homes<'a>(conversation: &Conversation<'a>, all: &[Conversation<'a>]) -> BTreeSet<&'a str> {
    let merged = all.iter().filter(|other| {
        other.tenant == conversation.tenant && other.merged_into == Some(conversation.id) && !other.spam
    });
    merged.map(|other| other.id).chain([conversation.id]).collect()
}

/// The first message of that id of those that came from a conversation.
fn message<'a>(conversation: &Conversation<'a>, home: &str, id: Option<&str>) -> Option<&'a Event> {
    let id = id?;
    let is_it = |event: &&&'a Event| {
        is_message(event) && event.text("conversation_id") == Some(home) && event.text("message_id") == Some(id)
    };
    conversation.events.iter().find(is_it).copied()
}

/// What graded criteria add to the tables of KPIs (rule 64).
pub(super) fn grades<'a>(labels: &[Label<'_, 'a>]) -> Vec<Contribution<'a>> {
    let mut found = Vec::new();
    for Label { conversation, event, message } in labels {
        let value = event.text("value").unwrap_or_default();
        let is_grade = event.text("label").is_some_and(|label| head(label).is_none()) && value != "na";
        let Some(weight) = weight(event.content.columns.get("attributes")).filter(|_| is_grade) else { continue };
        let before = conversation.events.iter().take_while(|other| other.order() < event.order()).count();
        let seen = &conversation.events[..before];
        let named = not_empty(event, "agent_id");
        let author = message.and_then(|message| author_if_agent(message));
        let agent = named.or(author).or_else(|| owner_after(seen)).or_else(|| last_replier(seen));
        let group = conversation.group_after(agent, before, event.time());
        let by_program = matches!(event.text("actor_type"), Some("bot" | "automation" | "system"));
        let mut add = |by_people, by_programs, amount| {
            let what = What::Sum(if by_program { by_programs } else { by_people }, amount);
            found.push(Contribution { group, when: When::At(event.time()), what });
        };
        add("quality_rubric_count", "quality_rubric_automatic_count", 1);
        add("quality_rubric_applicable_milli", "quality_rubric_automatic_applicable_milli", weight);
        if value == "pass" {
            add("quality_rubric_passed_milli", "quality_rubric_automatic_passed_milli", weight);
        }
    }
    found
}

/// The table `model_eval` (rule 65).
pub(super) fn evaluations(labels: &[Label], heads: &dyn Heads, zone: Tz) -> Table {
    type Pairs = Vec<(String, String)>;
    let mut days = BTreeMap::<(String, &str, i64, i64), Pairs>::new();
    for Label { conversation, event, message } in labels {
        let Some(head) = event.text("label").and_then(head) else { continue };
        let Some(scores) = message.and_then(turn_text).and_then(|text| heads.answer(text).scores()) else { continue };
        let predicted = match head {
            "sentiment" => Some(scores.sentiment()),
            "emotion" => scores.emotion_label(),
            "offensive" => scores.is_offensive().map(|yes| if yes { "offensive" } else { "not-offensive" }),
            _ => scores.intent.map(|(intent, _)| intent),
        };
        let Some(predicted) = predicted else { continue };
        let day = window(zone, Width::Day, event.time());
        let key = (conversation.tenant.to_owned(), head, day.start, day.end);
        let truth = event.text("value").unwrap_or_default().to_owned();
        days.entry(key).or_default().push((truth, predicted.to_owned()));
    }
    let mut table = Table::new();
    for ((tenant, head, start, end), pairs) in days {
        let row = |class: Option<&str>, columns: Vec<(&'static str, Cell)>| {
            let key = vec![Cell::Text(tenant.clone()), Cell::text(Some(head)), Cell::text(class), Cell::TimeMs(start)];
            (key, columns.into_iter().chain([("window_end", Cell::TimeMs(end))]).collect())
        };
        table.extend(rows_of_day(&pairs).into_iter().map(|(class, columns)| row(class.as_deref(), columns)));
    }
    table
}

type Row = (Option<String>, Vec<(&'static str, Cell)>);

fn rows_of_day(pairs: &[(String, String)]) -> Vec<Row> {
    let classes: BTreeSet<&String> = pairs.iter().flat_map(|(truth, predicted)| [truth, predicted]).collect();
    let count = |fits: &dyn Fn(&(String, String)) -> bool| pairs.iter().filter(|pair| fits(pair)).count() as i64;
    let correct = count(&|(truth, predicted)| truth == predicted);
    let n = pairs.len() as i64;
    let mut rows = Vec::new();
    let (mut precisions, mut recalls, mut f1s) = (Vec::new(), Vec::new(), Vec::new());
    for class in classes {
        let labelled = count(&|(truth, _)| truth == class);
        let given = count(&|(_, predicted)| predicted == class);
        let both = count(&|(truth, predicted)| truth == class && predicted == class);
        let (precision, recall) = (Cell::ratio(both as f64, given), Cell::ratio(both as f64, labelled));
        let f1 = Cell::ratio(2.0 * both as f64, labelled + given);
        if labelled > 0 {
            let number = |cell: &Cell| if let Cell::Float(number) = cell { *number } else { 0.0 };
            precisions.push(number(&precision));
            recalls.push(number(&recall));
            f1s.push(number(&f1));
        }
        let columns = columns([labelled, given, both], [Cell::Null, precision, recall, f1]);
        rows.push((Some(class.clone()), columns));
    }
    let mean = |numbers: &[f64]| Cell::ratio(numbers.iter().sum(), numbers.len() as i64);
    let overall = [Cell::ratio(correct as f64, n), mean(&precisions), mean(&recalls), mean(&f1s)];
    rows.push((None, columns([n, n, correct], overall)));
    rows
}

fn columns(counts: [i64; 3], quotients: [Cell; 4]) -> Vec<(&'static str, Cell)> {
    let names = ["n", "predicted_count", "correct_count"];
    let counts = names.into_iter().zip(counts.map(Cell::Int));
    counts.chain(["accuracy", "precision", "recall", "f1"].into_iter().zip(quotients)).collect()
}
