//! The agents: teams, shifts, speed and quality.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Normal};

use super::channel::Channel;
use super::time::{HOUR_MS, WEEK_HOURS, hour_of_week};

/// An agent, by position in the roster.
pub(crate) type AgentIndex = u32;

/// One human agent.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    /// The channel of the agent's team.
    pub(crate) channel: Channel,
    /// Factor on every reply and talk time; 1 is usual.
    pub(crate) speed_factor: f64,
    /// Quality in standard deviations; 0 is usual.
    pub(crate) quality: f64,
    /// Name of the shift.
    pub(crate) shift: &'static str,
    /// Where the agent works.
    pub(crate) site: &'static str,
    /// Whether on duty, by hour of the week.
    on_duty: [bool; WEEK_HOURS],
}

impl Agent {
    /// First hour of duty on a weekday, and the hour after the last; none on a day off.
    pub(crate) fn hours_on(&self, weekday: usize) -> Option<(usize, usize)> {
        let hours = &self.on_duty[weekday * 24..][..24];
        let first = hours.iter().position(|on_duty| *on_duty)?;
        let last = hours.iter().rposition(|on_duty| *on_duty)?;
        Some((first, last + 1))
    }
}

/// Every agent, with who is on duty when.
#[derive(Debug)]
pub(crate) struct Roster {
    agents: Vec<Agent>,
    /// Agents on duty by channel and hour of the week.
    duty: [Vec<Vec<AgentIndex>>; 4],
}

/// Shifts as (name, first hour, hour after the last).
const SHIFTS: [(&str, usize, usize); 3] = [("day", 9, 18), ("early", 6, 15), ("late", 13, 22)];
/// The shift of teams too small to staff three.
const LONG_SHIFT: (&str, usize, usize) = ("long", 7, 21);
/// Fewest agents of a team that works in three shifts.
const SHIFT_TEAM_SIZE: usize = 9;
/// First working weekday (Monday = 0) of each five-day pattern; together they cover the week evenly.
const WEEK_PATTERNS: [usize; 3] = [0, 2, 5];
const SITES: [&str; 3] = ["north", "south", "remote"];

impl Roster {
    /// Hires `agent_count` agents, spread over the channels by volume.
    pub(crate) fn new(agent_count: u32, rng: &mut ChaCha8Rng) -> Self {
        let channels = assign_channels(agent_count);
        let mut team_sizes = [0_usize; 4];
        for channel in &channels {
            team_sizes[channel.index()] += 1;
        }
        let mut positions = [0_usize; 4];
        let agents: Vec<Agent> = channels
            .into_iter()
            .map(|channel| {
                let position = positions[channel.index()];
                positions[channel.index()] += 1;
                hire(channel, position, team_sizes[channel.index()], rng)
            })
            .collect();
        let duty = Channel::ALL.map(|channel| duty_table(&agents, channel));
        Self { agents, duty }
    }

    /// The agents in order of their index.
    pub(crate) fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// One agent.
    pub(crate) fn agent(&self, index: AgentIndex) -> &Agent {
        &self.agents[index as usize]
    }

    /// An agent who serves `channel`, with the first time not before `time_ms` at which one is on duty.
    pub(crate) fn pick(&self, channel: Channel, time_ms: i64, rng: &mut ChaCha8Rng) -> (AgentIndex, i64) {
        let table = &self.duty[channel.index()];
        let mut free_ms = time_ms;
        while table[hour_of_week(free_ms)].is_empty() {
            free_ms = next_hour(free_ms);
        }
        let on_duty = &table[hour_of_week(free_ms)];
        (on_duty[rng.random_range(0..on_duty.len())], free_ms)
    }

    /// The first time not before `time_ms` at which the agent is on duty.
    pub(crate) fn next_on_duty(&self, agent: AgentIndex, time_ms: i64) -> i64 {
        let on_duty = &self.agent(agent).on_duty;
        let mut free_ms = time_ms;
        while !on_duty[hour_of_week(free_ms)] {
            free_ms = next_hour(free_ms);
        }
        free_ms
    }

    /// Agents who are on duty on `channel` in the hour of both times.
    pub(crate) fn on_duty_at_both(&self, channel: Channel, first_ms: i64, second_ms: i64) -> Vec<AgentIndex> {
        let table = &self.duty[channel.index()];
        let second = &table[hour_of_week(second_ms)];
        table[hour_of_week(first_ms)].iter().copied().filter(|agent| second.contains(agent)).collect()
    }
}

fn next_hour(time_ms: i64) -> i64 {
    (time_ms.div_euclid(HOUR_MS) + 1) * HOUR_MS
}

/// Gives each agent the channel which then lacks most agents for its volume: every prefix is as fair as can be.
fn assign_channels(agent_count: u32) -> Vec<Channel> {
    let mut staffed = [0.0; 4];
    (0..agent_count)
        .map(|_| {
            let need = |channel: &Channel| (staffed[channel.index()] + 1.0) / channel.profile().volume_share;
            let channel = Channel::ALL.into_iter().min_by(|a, b| need(a).total_cmp(&need(b))).unwrap_or(Channel::Chat);
            staffed[channel.index()] += 1.0;
            channel
        })
        .collect()
}

fn hire(channel: Channel, position: usize, team_size: usize, rng: &mut ChaCha8Rng) -> Agent {
    let (shift, from, to) = if team_size < SHIFT_TEAM_SIZE { LONG_SHIFT } else { SHIFTS[position / 3 % 3] };
    let first_day = WEEK_PATTERNS[position % 3];
    let mut on_duty = [false; WEEK_HOURS];
    for day in 0..7 {
        // Teams below three cannot cover the week in five-day patterns.
        let works = team_size < 3 || (day + 7 - first_day) % 7 < 5;
        on_duty[day * 24 + from..day * 24 + to].fill(works);
    }
    let quality = Normal::new(0.0, 1.0).map_or(0.0, |n| n.sample(rng));
    let speed_factor = LogNormal::new(0.0, 0.22).map_or(1.0, |d| d.sample(rng));
    let site = SITES[rng.random_range(0..SITES.len())];
    Agent { channel, speed_factor, quality, shift, site, on_duty }
}

/// Who is on duty on `channel` in each hour of the week. A channel without a team is served by everyone.
fn duty_table(agents: &[Agent], channel: Channel) -> Vec<Vec<AgentIndex>> {
    let has_team = agents.iter().any(|agent| agent.channel == channel);
    (0..WEEK_HOURS)
        .map(|hour| {
            (0_u32..)
                .zip(agents)
                .filter(|(_, agent)| agent.on_duty[hour] && (!has_team || agent.channel == channel))
                .map(|(index, _)| index)
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::time::DAY_MS;
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn any_team_size_serves_every_channel_every_day() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for agent_count in [1, 2, 3, 7, 40, 200] {
            let roster = Roster::new(agent_count, &mut rng);
            assert_eq!(roster.agents().len(), agent_count as usize);
            for channel in Channel::ALL {
                for hour in 0..WEEK_HOURS as i64 {
                    let (_, free_ms) = roster.pick(channel, hour * HOUR_MS, &mut rng);
                    assert!(free_ms - hour * HOUR_MS < DAY_MS, "{agent_count} agents, {channel:?}, hour {hour}");
                }
            }
        }
    }

    #[test]
    fn teams_follow_volume() {
        let roster = Roster::new(100, &mut ChaCha8Rng::seed_from_u64(3));
        let team_size = |channel| roster.agents().iter().filter(|a| a.channel == channel).count();
        assert_eq!(Channel::ALL.map(team_size).iter().sum::<usize>(), 100);
        assert!(team_size(Channel::Chat).abs_diff(36) <= 2);
        assert!(team_size(Channel::Social).abs_diff(14) <= 2);
    }
}
