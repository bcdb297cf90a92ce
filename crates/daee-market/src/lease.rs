use daee_types::Timestamp;

/// What one anchor credits to its node (MARKET rule 2): the time since the one before, at most the node's
/// interval. What was missed is never filled in, and the first credits nothing.
pub fn credit_seconds(last: Option<Timestamp>, now: Timestamp, interval_seconds: u32) -> u64 {
    last.map_or(0, |last| gap_seconds(last, now).min(interval_seconds.into()))
}

/// What of a node's credited seconds belongs to one lease: those since pay began. `counted` is the node's
/// total now, or what it was when an exit fixed the lease's end; `base` is what was credited, or already
/// past and only waiting for its anchor, when the first leaf was opened.
pub fn credited_seconds(started: bool, counted: u64, base: u64) -> u64 {
    if started { counted.saturating_sub(base) } else { 0 }
}

/// What the final leaf adds to a lease that an exit ended: the time since the last anchor before it, which
/// no anchor had credited yet (MARKET rule 5).
pub fn tail_credit_seconds(last: Timestamp, end_time: Timestamp, interval_seconds: u32) -> u64 {
    gap_seconds(last, end_time).min(interval_seconds.into())
}

/// The last block time at which the final leaf may be anchored and opened.
pub fn final_open_until(end_time: Timestamp, open_window_seconds: u32) -> Timestamp {
    later(end_time, open_window_seconds)
}

/// Whether a leaf may be opened at block time `now` after an exit, under a root anchored at `anchored`.
pub fn may_open_final(
    anchored: Timestamp,
    now: Timestamp,
    end_time: Timestamp,
    open_window_seconds: u32,
) -> bool {
    let until = final_open_until(end_time, open_window_seconds);
    anchored <= until && now <= until
}

/// Whether a closing lease may be finished at block time `now`: at once when nothing is waited for.
pub fn may_finish(
    started: bool,
    final_open: bool,
    now: Timestamp,
    end_time: Timestamp,
    open_window_seconds: u32,
) -> bool {
    let waits = started && !final_open;
    !waits || now > final_open_until(end_time, open_window_seconds)
}

/// What decides when a lease is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseClock {
    /// When it was assigned.
    pub assigned_at: Timestamp,
    /// When its first leaf was opened.
    pub started_at: Option<Timestamp>,
    /// When its node last anchored; zero for never.
    pub last_anchor: Timestamp,
    /// From the assignment to the first opened leaf.
    pub start_window_seconds: u32,
    /// The tenant's.
    pub interval_seconds: u32,
    /// Beyond the interval.
    pub grace_seconds: u32,
}

impl LeaseClock {
    /// The last block time at which it cannot be expired yet.
    pub fn expires_after(&self) -> Timestamp {
        match self.started_at {
            None => later(self.assigned_at, self.start_window_seconds),
            Some(started) => {
                let silent_since = self.last_anchor.max(started);
                later(later(silent_since, self.interval_seconds), self.grace_seconds)
            }
        }
    }

    /// Whether anyone may expire it at block time `now`.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now.seconds() > self.expires_after().seconds()
    }
}

fn gap_seconds(from: Timestamp, to: Timestamp) -> u64 {
    to.seconds().saturating_sub(from.seconds())
}

fn later(time: Timestamp, seconds: u32) -> Timestamp {
    Timestamp::from_seconds(time.seconds() + u64::from(seconds))
}
