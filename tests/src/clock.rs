//! Times as the contract writes them, read and printed without the product's help.

/// Milliseconds since the Unix epoch of an RFC 3339 time with an offset; `None` if the text is not one.
///
/// Digits below the millisecond are cut off.
pub fn parse(text: &str) -> Option<i64> {
    if !text.is_ascii() {
        return None;
    }
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = (rest.get(..8)?, rest.get(8..)?);
    let days = parse_date(date)?;
    let seconds = parse_clock(clock)?;
    let (millis, zone) = parse_fraction(rest)?;
    let offset_minutes = parse_zone(zone)?;
    Some((days * 86_400 + seconds - offset_minutes * 60) * 1000 + millis)
}

fn parse_date(text: &str) -> Option<i64> {
    let [year, month, day] = numbers(text, '-', [4, 2, 2])?;
    let longest = match month {
        2 if (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=longest).contains(&day).then(|| days_from_civil(year, month, day))
}

fn parse_clock(text: &str) -> Option<i64> {
    let [hour, minute, second] = numbers(text, ':', [2, 2, 2])?;
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
}

/// The milliseconds of `.ddd…`, and what follows.
fn parse_fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let millis = format!("{:0<3}", &rest[..length])[..3].parse().ok()?;
    (length > 0).then_some((millis, &rest[length..]))
}

/// Minutes east of UTC.
fn parse_zone(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let [hours, minutes] = numbers(&text[1..], ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// Numbers of fixed widths between separators.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let parts: Vec<&str> = text.split(separator).collect();
    let mut values = [0; N];
    if parts.len() != N {
        return None;
    }
    for ((part, width), value) in parts.iter().zip(widths).zip(&mut values) {
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *value = part.parse().ok()?;
    }
    Some(values)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar: whole years, then whole months, then days.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years counted from March put the leap day last, so a month's first day does not depend on the year.
    let years = if month > 2 { year } else { year - 1 };
    let month_from_march = (month + 9) % 12;
    let leap_days = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    years * 365 + leap_days + (month_from_march * 153 + 2) / 5 + day - 1 - 719_468
}

/// RFC 3339 in UTC with milliseconds.
pub fn format(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let mut year = 1970 + days.div_euclid(366);
    while days_from_civil(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days_from_civil(year, *month, 1) <= days).unwrap_or(1);
    let day = days - days_from_civil(year, month, 1) + 1;
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rfc_3339_with_an_offset() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse("2024-03-01T00:00:00.000Z"), Some(1_709_251_200_000));
        assert_eq!(parse("2024-03-01T01:30:00+01:30"), Some(1_709_251_200_000));
        assert_eq!(parse("2024-02-29T23:59:59.9-00:00"), Some(1_709_251_199_900));
        assert_eq!(parse("2099-12-31T23:59:59.999Z"), Some(4_102_444_799_999));
    }

    #[test]
    fn refuses_what_is_not() {
        for text in
            ["", "2024-03-01", "2024-03-01T00:00:00", "2024-02-30T00:00:00Z", "2024-13-01T00:00:00Z", "yesterday"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for text in [
            "1970-01-01T00:00:00.000Z",
            "2023-12-31T23:59:59.999Z",
            "2024-02-29T12:00:00.001Z",
            "2099-12-31T00:00:00.000Z",
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(text));
        }
    }
}
