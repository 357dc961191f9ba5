//! Opening hours, holidays and pause statuses as a dimension event writes them (rules 30, 49).

use super::event::STATUSES;
use chrono::NaiveDate;
use serde_json::Value;
use std::collections::BTreeSet;

/// Opening ranges in minutes of the local day, for each day from Monday; they may overlap.
pub(super) type Ranges = [Vec<(i64, i64)>; 7];
/// Days closed all day.
pub(super) type Holidays = BTreeSet<NaiveDate>;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// What is written as a value, or as a text that holds one in JSON.
fn unpacked(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => Some(value.clone()),
    }
}

/// The opening ranges; `None` if they cannot be understood.
pub(super) fn ranges(value: &Value) -> Option<Ranges> {
    let mut ranges = Ranges::default();
    match unpacked(value)? {
        Value::Object(days) => {
            for (day, list) in &days {
                for pair in list.as_array()? {
                    let [start, end] = pair.as_array()?.as_slice() else { return None };
                    add(&mut ranges, day, start, end)?;
                }
                // A day without ranges must be a day all the same.
                DAYS.contains(&day.as_str()).then_some(())?;
            }
        }
        Value::Array(list) => {
            for one in &list {
                add(&mut ranges, one.get("day")?.as_str()?, one.get("start")?, one.get("end")?)?;
            }
        }
        _ => return None,
    }
    Some(ranges)
}

fn add(ranges: &mut Ranges, day: &str, start: &Value, end: &Value) -> Option<()> {
    let day = DAYS.iter().position(|name| *name == day)?;
    let (start, end) = (minutes(start.as_str()?)?, minutes(end.as_str()?)?);
    (start < end).then(|| ranges[day].push((start, end)))
}

/// Minutes of `HH:MM`, up to 24:00.
fn minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let is_right = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_right.then(|| text.parse::<i64>().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= 24 * 60).then_some(total)
}

/// The holidays; `None` if they cannot be understood.
pub(super) fn holidays(value: &Value) -> Option<Holidays> {
    unpacked(value)?.as_array()?.iter().map(|day| date(day.as_str()?)).collect()
}

fn date(text: &str) -> Option<NaiveDate> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    // The parser is more patient than the rule.
    (date.to_string() == text).then_some(date)
}

/// The statuses in which a clock stands still; `None` if they are no list of texts.
pub(super) fn pause_statuses(value: &Value) -> Option<Vec<String>> {
    unpacked(value)?.as_array()?.iter().map(|status| status.as_str().map(str::to_owned)).collect()
}

/// Whether all of them are statuses.
pub(super) fn are_statuses(names: &[String]) -> bool {
    names.iter().all(|name| STATUSES.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_both_ways_of_writing_ranges() {
        let as_object = ranges(&json!({ "mon": [["09:00", "12:00"], ["13:00", "24:00"]], "sun": [] })).unwrap();
        assert_eq!(as_object[0], [(540, 720), (780, 1440)]);
        let listed = json!([
            { "day": "mon", "start": "09:00", "end": "12:00" },
            { "day": "mon", "start": "13:00", "end": "24:00" },
        ]);
        assert_eq!(ranges(&listed), Some(as_object));
        assert_eq!(ranges(&json!(listed.to_string())), ranges(&listed));
        assert_eq!(ranges(&json!("{}")), Some(Ranges::default()));
    }

    #[test]
    fn refuses_impossible_ranges() {
        for wrong in [
            json!({ "mon": [["12:00", "09:00"]] }),
            json!({ "mon": [["09:00", "09:00"]] }),
            json!({ "mon": [["9:00", "10:00"]] }),
            json!({ "mon": [["09:00", "24:01"]] }),
            json!({ "mon": [["09:60", "10:00"]] }),
            json!({ "mon": ["09:00", "10:00"] }),
            json!({ "monday": [] }),
            json!([{ "day": "mon", "start": "09:00" }]),
            json!("always"),
            json!(7),
        ] {
            assert_eq!(ranges(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn reads_holidays() {
        assert_eq!(holidays(&json!(["2024-02-29"])).map(|days| days.len()), Some(1));
        assert_eq!(holidays(&json!("[\"2024-12-25\",\"2024-12-26\"]")).map(|days| days.len()), Some(2));
        for wrong in [json!(["2023-02-29"]), json!(["2024-1-1"]), json!("2024-01-01"), json!([7])] {
            assert_eq!(holidays(&wrong), None, "{wrong}");
        }
    }
}
