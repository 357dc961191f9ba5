//! The pure functions that run per row or per change: `cargo bench --workspace --profile dev --bench functions`.

use std::borrow::Cow;
use std::hint::black_box;

use contactflow_benches::Story;
use contactflow_operators::conversation::{Change, Context, Differences, History, apply, order, view};
use contactflow_operators::deduplicate::{Effects, Ledger};
use contactflow_operators::dimensions::TenantDimensions;
use contactflow_schemas::aggregate::{RollUp, roll_up};
use contactflow_schemas::catalogue::{contribute, kpi};
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::columns::{Column, RawValue, Row};
use contactflow_schemas::event::{Event, Origin, Statement};
use contactflow_schemas::masking::Masking;
use contactflow_schemas::normalise::normalise;
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::Tally;
use contactflow_schemas::windows::Windows;
use criterion::{BatchSize, Criterion, Throughput};

const AS_OF_MS: TimeMs = contactflow_benches::START_MS + 60 * contactflow_schemas::clock::DAY_MS;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    conversation(&mut criterion);
    tally(&mut criterion);
    ledger(&mut criterion);
    normaliser(&mut criterion);
    criterion.final_summary();
}

/// A conversation of nine events, and the late message that changes it.
fn conversation(criterion: &mut Criterion) {
    let story = Story::new(7);
    let key = story.key();
    let mut events = story.events();
    events.sort_by(order);
    let packed = History::pack(&events);
    let late = late_event(story);

    let (rules, windows, dimensions) = (KpiRules::default(), Windows::utc(), TenantDimensions::default());
    let context = Context { rules: &rules, windows: &windows, dimensions: &dimensions, as_of_ms: AS_OF_MS };

    let mut group = criterion.benchmark_group("conversation");
    group.bench_function("view", |bencher| bencher.iter(|| view(&context, key, black_box(&events))));
    group.bench_function("pack", |bencher| bencher.iter(|| History::pack(black_box(&events))));
    group.bench_function("unpack", |bencher| bencher.iter(|| black_box(&packed).unpack()));
    // Everything that one late event costs in the conversation stage.
    group.bench_function("change", |bencher| {
        bencher.iter(|| {
            let mut events = black_box(&packed).unpack();
            let before = view(&context, key, &events);
            apply(&mut events, [Change::Put(Box::new(late.clone()))]);
            let after = view(&context, key, &events);
            let mut differences = Differences::default();
            differences.add(&windows, key, before, after, &[]);
            (History::pack(&events), differences.take_cells().count())
        });
    });
    group.finish();
}

fn late_event(story: Story) -> Event {
    match story.late_delivery(0).statement {
        Statement::Happened(_, event) => *event,
        _ => unreachable!("a late delivery is a message"),
    }
}

/// An agent's hour with 40 replies, and one more.
fn tally(criterion: &mut Criterion) {
    let replies = |count: i64| {
        let mut entries = Vec::new();
        for number in 0..count {
            contribute(kpi::REPLIES, 1, None, 1, &mut entries);
            contribute(kpi::REPLY_TIME, 1_000 + number * 977, None, 1, &mut entries);
            if number % 2 == 0 {
                contribute(kpi::FIRST_RESPONSE_TIME, 2_000 + number * 991, None, 1, &mut entries);
            }
        }
        Tally::from_entries(entries)
    };
    let (hour, one) = (replies(40), replies(1));
    let mut group = criterion.benchmark_group("tally");
    group.bench_function("add", |bencher| {
        bencher.iter_batched_ref(|| hour.clone(), |sum| sum.add(black_box(&one)), BatchSize::SmallInput);
    });
    group.bench_function("roll_up", |bencher| bencher.iter(|| roll_up(black_box(&hour), RollUp::OverGroup)));
    group.finish();
}

/// Deliveries of a thousand conversations into an empty ledger.
fn ledger(criterion: &mut Criterion) {
    let deliveries: Vec<_> = (0..1_000).flat_map(|number| Story::new(number).deliveries()).collect();
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(deliveries.len() as u64));
    group.bench_function("deliver", |bencher| {
        let deliver_all = |deliveries: Vec<_>| {
            let (mut ledger, mut effects) = (Ledger::default(), Effects::default());
            deliveries.into_iter().for_each(|delivery| _ = ledger.deliver(delivery, &mut effects));
            (ledger, effects)
        };
        bencher.iter_batched(|| deliveries.clone(), deliver_all, BatchSize::LargeInput);
    });
    group.finish();
}

/// A row that is its list of values.
struct ListRow {
    values: Vec<(Column, &'static str)>,
    present: Vec<Column>,
}

impl Row for ListRow {
    fn get(&self, column: Column) -> RawValue<'_> {
        let value = self.values.iter().find(|(other, _)| *other == column);
        value.map_or(RawValue::Null, |(_, text)| RawValue::Text(Cow::Borrowed(text)))
    }

    fn present(&self) -> &[Column] {
        &self.present
    }

    fn raw(&self) -> String {
        format!("{:?}", self.values)
    }
}

/// A message of a customer.
fn normaliser(criterion: &mut Criterion) {
    let values = vec![
        (Column::TenantId, "bench"),
        (Column::Source, "bench"),
        (Column::EventId, "c7-1"),
        (Column::EventType, "message_created"),
        (Column::EventTime, "2025-03-03T10:00:00.250Z"),
        (Column::ConversationId, "c7"),
        (Column::Channel, "chat"),
        (Column::ActorType, "customer"),
        (Column::MessageId, "c7-1"),
        (Column::Direction, "inbound"),
        (Column::Text, "My parcel has not arrived, and nobody answers the phone."),
    ];
    let row = ListRow { present: values.iter().map(|(column, _)| *column).collect(), values };
    let origin = Origin { file: Symbol::new("bench.ndjson"), row: 1 };
    criterion.bench_function("normalise", |bencher| {
        bencher.iter(|| normalise(black_box(&row), origin, &Masking::default()))
    });
}
