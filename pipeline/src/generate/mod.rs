//! Seeded synthetic months of a small contact centre, with planted, labelled incidents.
//!
//! Four channels with their own volumes and reply times, agents with shifts and temper, opening hours, service promises,
//! a bot, customers who write in English and Chinese, transfers, reopens, surveys; on request the disorder of real deliveries. Equal options give equal
//! bytes: every draw comes from ChaCha streams of one seed, and nothing looks at a clock.
//!
//! The simulation runs hour by hour. A conversation is played to its end when it starts; events of later hours wait in
//! a [`delivery_queue`], so memory follows the arrivals of some days, not the length of the span.

mod arrivals;
mod channel;
mod columns;
mod conversation;
mod delivery_queue;
mod dimensions;
mod disorder;
mod event;
mod flatten;
mod incidents;
mod options;
mod roster;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod truth;
mod write;

use anyhow::Context;
use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use arrivals::Arrivals;
use columns::Row;
use conversation::{World, simulate};
use delivery_queue::DeliveryQueue;
use disorder::DeliveryDesk;
use flatten::Flattener;
use incidents::IncidentPlan;
use roster::Roster;
use write::EventFiles;

pub use options::{Format, GenerateOptions, MAX_AGENTS, MAX_CONVERSATIONS, MAX_DAYS, OptionsError};
pub use truth::{Incident, IncidentKind, Truth};

/// Where the answer sheet goes, relative to the output.
pub const TRUTH_PATH: &str = "_truth/incidents.json";

/// Streams of the seed. Each part of the generator draws from its own, so that a choice in one (say, disorder off)
/// leaves the others as they are.
#[derive(Clone, Copy)]
enum Stream {
    Roster = 1,
    Incidents,
    Arrivals,
    Conversations,
    Disorder,
    Presence,
}

fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

/// Generates what `options` describe.
///
/// `sink` gets each finished file as its path relative to the output and its content: event files
/// `events/date=YYYY-MM-DD/part-NNNN.{parquet,ndjson.gz}` in the order of their dates (the UTC date of delivery, which
/// without disorder is that of the event), last [`TRUTH_PATH`]. `progress` gets the number of conversations started so far, after every hour of the span.
///
/// # Errors
/// [`OptionsError`] if the options cannot be met; else whatever `sink` returns.
pub fn generate(
    options: &GenerateOptions,
    sink: &mut dyn FnMut(&str, Bytes) -> anyhow::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Truth> {
    options.validate()?;
    let (start_ms, end_ms) = (options.start_ms(), options.end_ms());
    let roster = Roster::new(options.agents, &mut stream(options.seed, Stream::Roster));
    let plan = if options.incidents {
        IncidentPlan::plant(start_ms, options.days, &roster, &mut stream(options.seed, Stream::Incidents))
    } else {
        IncidentPlan::default()
    };
    let mut truth = Truth {
        tenant_id: options.tenant_id.clone(),
        seed: options.seed,
        start_date: time::date_string(start_ms),
        days: options.days,
        incidents: plan.labels(&options.tenant_id),
        ..Truth::default()
    };
    let contacts = (options.conversations * 3 / 5).max(1);
    let world = World { roster: &roster, plan: &plan, contacts, end_ms };
    truth.files = run(options, world, sink, progress, &mut truth)?;
    let json = serde_json::to_vec_pretty(&truth).context("encoding the answer sheet")?;
    sink(TRUTH_PATH, json.into()).with_context(|| format!("writing {TRUTH_PATH}"))?;
    Ok(truth)
}

/// Simulates hour after hour, writes what is due and returns the number of files.
fn run(
    options: &GenerateOptions,
    world: World<'_>,
    sink: &mut write::Sink<'_>,
    progress: &mut dyn FnMut(u64),
    truth: &mut Truth,
) -> anyhow::Result<u64> {
    let (start_ms, end_ms) = (options.start_ms(), options.end_ms());
    let mut arrivals_rng = stream(options.seed, Stream::Arrivals);
    let mut conversations_rng = stream(options.seed, Stream::Conversations);
    let mut arrivals = Arrivals::new(options.conversations, start_ms, options.days, world.plan, &mut arrivals_rng);
    let mut desk = DeliveryDesk::new(world.plan, stream(options.seed, Stream::Disorder), options.disorder, end_ms);
    let mut queue = DeliveryQueue::new(start_ms, end_ms);
    let mut files = EventFiles::new(sink, options.format, options.max_rows_per_file);
    let flattener =
        Flattener { tenant_id: &options.tenant_id, roster: world.roster, text: options.text, format: options.format };
    let (mut hour_arrivals, mut events, mut row) = (Vec::new(), Vec::new(), Row::default());

    for event in dimensions::dimensions(world.roster, start_ms, options.days) {
        desk.accept(event, &mut queue, truth);
    }
    let mut presence_rng = stream(options.seed, Stream::Presence);
    let mut hours = 0..;
    while arrivals.next_hour(&mut hour_arrivals, &mut arrivals_rng) {
        // Whoever comes to work today says so in the hours to come.
        if let Some(hour) = hours.next().filter(|hour| hour % 24 == 0) {
            let today = ((hour / 24) as u16, start_ms + hour * time::HOUR_MS);
            dimensions::presence(world.roster, today, &mut presence_rng, |event| {
                if event.event_ms < end_ms {
                    desk.accept(event, &mut queue, truth);
                }
            });
        }
        for &arrival in &hour_arrivals {
            events.clear();
            simulate(truth.conversations, arrival, world, &mut conversations_rng, &mut events);
            truth.conversations += 1;
            *truth.conversations_by_channel.entry(arrival.channel.as_str().to_owned()).or_default() += 1;
            for &event in &events {
                desk.accept(event, &mut queue, truth);
            }
        }
        for delivery in queue.pop_hour() {
            flattener.flatten(&delivery, &mut row);
            files.append(delivery.ingest_ms, &row)?;
        }
        progress(truth.conversations);
    }
    debug_assert_eq!(queue.waiting(), 0, "everything is due within the span");
    files.finish()
}
