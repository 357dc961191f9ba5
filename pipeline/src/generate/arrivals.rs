//! When conversations start: daily and weekly seasonality, spread by chance, exact in total.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution, Normal};

use super::channel::Channel;
use super::incidents::IncidentPlan;
use super::time::{HOUR_MS, weekday};

/// The start of one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival {
    /// When it starts, milliseconds since the Unix epoch.
    pub(crate) time_ms: i64,
    /// The channel it starts on.
    pub(crate) channel: Channel,
}

/// Standard deviation of the day's volume relative to its seasonal expectation.
const DAY_NOISE: f64 = 0.05;

/// Hands out the arrivals of one hour after the other; in total exactly as many as asked for.
#[derive(Debug)]
pub(crate) struct Arrivals {
    start_ms: i64,
    /// Expected relative arrivals of each hour of the span, by channel.
    weights: Vec<[f64; 4]>,
    weight_left: f64,
    conversations_left: u64,
    hour: usize,
}

impl Arrivals {
    /// Plans `conversations` arrivals over `days` days from `start_ms` on.
    pub(crate) fn new(conversations: u64, start_ms: i64, days: u32, plan: &IncidentPlan, rng: &mut ChaCha8Rng) -> Self {
        let mut weights = Vec::with_capacity(days as usize * 24);
        let noise = Normal::new(1.0, DAY_NOISE).ok();
        for day in 0..days as usize {
            let day_factors = Channel::ALL.map(|_| noise.map_or(1.0, |n| n.sample(rng).clamp(0.7, 1.3)));
            for hour in 0..24 {
                let time_ms = start_ms + (day * 24 + hour) as i64 * HOUR_MS;
                weights.push(Channel::ALL.map(|channel| {
                    expected_arrivals(channel, time_ms, hour)
                        * day_factors[channel.index()]
                        * plan.arrival_factor(channel, time_ms)
                }));
            }
        }
        let weight_left = weights.iter().flatten().sum();
        Self { start_ms, weights, weight_left, conversations_left: conversations, hour: 0 }
    }

    /// Puts the arrivals of the next hour into `arrivals`, sorted; false when the span is over.
    pub(crate) fn next_hour(&mut self, arrivals: &mut Vec<Arrival>, rng: &mut ChaCha8Rng) -> bool {
        arrivals.clear();
        let Some(weights) = self.weights.get(self.hour).copied() else { return false };
        let hour_start_ms = self.start_ms + self.hour as i64 * HOUR_MS;
        self.hour += 1;
        for channel in Channel::ALL {
            for _ in 0..self.draw(weights[channel.index()], rng) {
                arrivals.push(Arrival { time_ms: hour_start_ms + rng.random_range(0..HOUR_MS), channel });
            }
        }
        arrivals.sort_unstable();
        true
    }

    /// Draws the arrivals of one cell given what is left of the total. A chain of binomials is a multinomial draw: it
    /// scatters as Poisson arrivals do, yet the sum is exact.
    fn draw(&mut self, weight: f64, rng: &mut ChaCha8Rng) -> u64 {
        if weight <= 0.0 || self.conversations_left == 0 {
            return 0;
        }
        let p = weight / self.weight_left;
        // Rounding may leave a last cell a hair short of 1 or a hair of weight after it.
        let is_last = p > 1.0 - 1e-9;
        let count = if is_last {
            self.conversations_left
        } else {
            Binomial::new(self.conversations_left, p).map_or(0, |binomial| binomial.sample(rng))
        };
        self.weight_left -= weight;
        self.conversations_left -= count;
        count
    }
}

/// Relative arrivals of one hour in an ordinary week.
fn expected_arrivals(channel: Channel, time_ms: i64, hour: usize) -> f64 {
    let profile = channel.profile();
    let hour_sum: f64 = profile.hour_weights.iter().sum();
    let weekday_sum: f64 = profile.weekday_weights.iter().sum();
    profile.volume_share * profile.hour_weights[hour] / hour_sum * profile.weekday_weights[weekday(time_ms)]
        / weekday_sum
}

/// How busy the hour is relative to the mean hour of the channel; 1 on average.
pub(crate) fn relative_load(channel: Channel, time_ms: i64) -> f64 {
    let profile = channel.profile();
    let hour = (time_ms.rem_euclid(24 * HOUR_MS) / HOUR_MS) as usize;
    expected_arrivals(channel, time_ms, hour) * 168.0 / profile.volume_share
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn total_is_exact_and_hours_are_in_order() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut planned = Arrivals::new(12_345, 0, 9, &IncidentPlan::default(), &mut rng);
        let (mut total, mut hour, mut arrivals) = (0, 0, Vec::new());
        while planned.next_hour(&mut arrivals, &mut rng) {
            assert!(arrivals.iter().all(|a| a.time_ms.div_euclid(HOUR_MS) == hour));
            total += arrivals.len();
            hour += 1;
        }
        assert_eq!((total, hour), (12_345, 9 * 24));
    }

    #[test]
    fn load_averages_to_one_over_a_week() {
        for channel in Channel::ALL {
            let sum: f64 = (0..168).map(|hour| relative_load(channel, hour * HOUR_MS)).sum();
            assert!((sum / 168.0 - 1.0).abs() < 1e-9, "{channel:?}: {sum}");
        }
    }
}
