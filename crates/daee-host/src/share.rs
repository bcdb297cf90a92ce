//! The share of a core that a manifest asks for, over time.

use std::time::Duration;

use daee_types::{MilliCpu, Timestamp};

/// As much as a whole share of this time may be saved up and spent at once.
const SAVED_MILLIS: u64 = 10_000;

/// A token bucket of a core's time: it fills as time goes by, turns empty it, and a turn that took more than there was
/// is paid off before the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuShare {
    cpu: MilliCpu,
    /// Microseconds of a core; below zero what is owed.
    saved: i64,
    filled_at: Timestamp,
}

impl CpuShare {
    /// A full one.
    pub fn new(cpu: MilliCpu, now: Timestamp) -> Self {
        let full = Self { cpu, saved: 0, filled_at: now };
        Self { saved: full.most(), ..full }
    }

    /// Goes on under another version's share, with what is owed, and with no more saved than that share saves.
    pub fn change(&mut self, cpu: MilliCpu, now: Timestamp) {
        self.fill(now);
        self.cpu = cpu;
        self.saved = self.saved.min(self.most());
    }

    /// Takes what a turn used.
    pub fn charge(&mut self, used: Duration, now: Timestamp) {
        self.fill(now);
        self.saved = self.saved.saturating_sub(i64::try_from(used.as_micros()).unwrap_or(i64::MAX));
    }

    /// When nothing is owed any more; not after `now` if nothing is.
    pub fn paid_at(&self) -> Timestamp {
        let owed = self.saved.min(0).unsigned_abs();
        // A thousandth of a core is a microsecond in a millisecond.
        self.filled_at.plus_millis(owed.div_ceil(u64::from(self.cpu.0.max(1))))
    }

    fn fill(&mut self, now: Timestamp) {
        let millis = now.millis_since(self.filled_at);
        let more = millis.saturating_mul(self.cpu.0.into());
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        self.saved = self.saved.saturating_add(more).min(self.most());
        self.filled_at = self.filled_at.max(now);
    }

    fn most(&self) -> i64 {
        i64::from(self.cpu.0) * SAVED_MILLIS as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs turns that each compute so long, one as soon as the last is paid for, and says what part of a core they
    /// took together, in thousandths.
    fn taken(cpu: u32, turn_millis: u64, over_millis: u64) -> u64 {
        let mut now = Timestamp(1_000);
        let mut share = CpuShare::new(MilliCpu(cpu), now);
        let (end, mut used) = (now.plus_millis(over_millis), 0);
        while now < end {
            now = now.max(share.paid_at()).plus_millis(turn_millis);
            share.charge(Duration::from_millis(turn_millis), now);
            used += turn_millis;
        }
        used * 1_000 / over_millis
    }

    #[test]
    fn over_time_an_agent_gets_its_share_and_what_it_had_saved() {
        const HOUR: u64 = 3_600_000;
        for (cpu, turn) in [(250, 1), (250, 10_000), (100, 37), (10, 500), (900, 100)] {
            let (taken, cpu) = (taken(cpu, turn, HOUR), u64::from(cpu));
            // Ten seconds saved at first, and one turn begun before the end, are what an hour may be over.
            let over = (SAVED_MILLIS * cpu / 1_000 + turn).div_ceil(HOUR / 1_000);
            assert!((cpu..=cpu + over).contains(&taken), "{taken} thousandths instead of {cpu}");
        }
    }

    #[test]
    fn a_whole_core_is_never_owed_by_one_thread() {
        let start = Timestamp(5);
        let mut share = CpuShare::new(MilliCpu(1_000), start);
        for turn in 1..=1_000 {
            let now = start.plus_millis(turn * 700);
            share.charge(Duration::from_millis(700), now);
            assert!(share.paid_at() <= now);
        }
    }

    #[test]
    fn rest_saves_no_more_than_a_burst() {
        let mut share = CpuShare::new(MilliCpu(250), Timestamp(0));
        let later = Timestamp(1_000_000_000);
        share.charge(Duration::from_millis(2_500), later);
        assert_eq!(share.paid_at(), later);
        share.charge(Duration::from_millis(1), later);
        assert_eq!(share.paid_at(), later.plus_millis(4));
    }

    #[test]
    fn a_clock_that_goes_back_and_a_turn_without_end_do_no_harm() {
        let mut share = CpuShare::new(MilliCpu(250), Timestamp(1_000));
        share.charge(Duration::MAX, Timestamp(0));
        assert!(share.paid_at() > Timestamp(1_000));
        share.change(MilliCpu(1_000), Timestamp(500));
        share.charge(Duration::ZERO, Timestamp(u64::MAX));
        let _ = share.paid_at();
    }
}
