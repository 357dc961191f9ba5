use super::*;
use crate::generate::OptionsError;

fn error_of(options: GenerateOptions) -> OptionsError {
    let error = generate(&options, &mut |_, _| Ok(()), &mut |_| ()).unwrap_err();
    error.downcast().unwrap()
}

#[test]
fn impossible_numbers_are_named() {
    let options = GenerateOptions::default;
    for (option, bad) in [
        ("--conversations", GenerateOptions { conversations: 0, ..options() }),
        ("--agents", GenerateOptions { agents: 0, ..options() }),
        ("--days", GenerateOptions { days: 0, ..options() }),
        ("--max-rows-per-file", GenerateOptions { max_rows_per_file: 0, ..options() }),
        ("--conversations", GenerateOptions { conversations: u64::MAX, ..options() }),
    ] {
        let message = error_of(bad).to_string();
        assert!(message.starts_with(option), "{message}");
    }
}

#[test]
fn spans_outside_accepted_times_and_empty_tenants_are_refused() {
    let start_date = chrono::NaiveDate::from_ymd_opt(2099, 12, 20).unwrap();
    let late = GenerateOptions { start_date, ..GenerateOptions::default() };
    assert!(matches!(error_of(late), OptionsError::SpanOutOfRange { .. }));
    let nobody = GenerateOptions { tenant_id: " ".to_owned(), ..GenerateOptions::default() };
    assert_eq!(error_of(nobody), OptionsError::EmptyTenant);
}

#[test]
fn smallest_options_work() {
    let options = GenerateOptions { conversations: 1, agents: 1, days: 1, ..GenerateOptions::default() };
    let truth = DataSet::new(&options).truth;
    assert_eq!(truth.conversations, 1);
    assert!(truth.events >= 2, "{truth:?}");
}

#[test]
fn errors_of_the_sink_are_passed_on() {
    let options = GenerateOptions { conversations: 10, days: 1, ..GenerateOptions::default() };
    let error = generate(&options, &mut |_, _| anyhow::bail!("disk full"), &mut |_| ()).unwrap_err();
    assert!(format!("{error:#}").contains("writing events/date=2025-03-03/part-0000.parquet: disk full"), "{error:#}");
}
