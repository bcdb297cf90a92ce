use std::{
    collections::BTreeMap,
    hash::Hash,
    sync::{Arc, Mutex},
};

use daee_types::{ByteSize, DeploymentId};

/// Targets that are remembered before those at rest are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// What agents may take of the node's network.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Exchanges at a time of one agent.
    pub agent_connections_max: u32,
    /// Requests of one agent at once.
    pub agent_requests_burst: u32,
    /// Requests of one agent a minute, over time.
    pub agent_requests_per_minute: u32,
    /// Bytes of one agent at once, both ways.
    pub agent_bytes_burst: ByteSize,
    /// Bytes of one agent a minute, over time.
    pub agent_bytes_per_minute: ByteSize,
    /// Exchanges at a time with one host, of all agents.
    pub host_connections_max: u32,
    /// Requests to one host at once, of all agents.
    pub host_requests_burst: u32,
    /// Requests to one host a minute, over time.
    pub host_requests_per_minute: u32,
    /// Bytes of a request's body.
    pub request_bytes_max: ByteSize,
    /// Bytes of an answer's body.
    pub answer_bytes_max: ByteSize,
    /// Time of an exchange in milliseconds, resolving included.
    pub exchange_millis_max: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            agent_connections_max: 8,
            agent_requests_burst: 60,
            agent_requests_per_minute: 300,
            agent_bytes_burst: ByteSize::mib(64),
            agent_bytes_per_minute: ByteSize::mib(64),
            host_connections_max: 32,
            host_requests_burst: 120,
            host_requests_per_minute: 600,
            request_bytes_max: ByteSize::mib(1),
            answer_bytes_max: ByteSize::mib(8),
            exchange_millis_max: 30_000,
        }
    }
}

/// An agent, or a host over all agents, has had its share for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many {what}: the limit is {limit}; try again in {wait_millis} ms")]
pub struct Limited {
    /// What there was too much of.
    pub what: &'static str,
    /// How much there may be.
    pub limit: u64,
    /// When to try again, in milliseconds; at least 1.
    pub wait_millis: u64,
}

/// Counts what agents take. Time comes in with each call, in milliseconds from any fixed moment.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    caps: Caps,
    shares: Arc<Mutex<Shares>>,
}

#[derive(Debug, Default)]
struct Shares {
    agents: BTreeMap<DeploymentId, Share>,
    hosts: BTreeMap<String, Share>,
}

#[derive(Debug)]
struct Share {
    open: u32,
    requests: Bucket,
    bytes: Bucket,
}

/// One exchange under way. Gives its place back when it goes.
#[derive(Debug)]
pub(crate) struct Place {
    shares: Arc<Mutex<Shares>>,
    agent: DeploymentId,
    host: String,
}

impl Meter {
    pub(crate) fn new(caps: Caps) -> Self {
        Self { caps, shares: Arc::default() }
    }

    /// Takes a place for one request. Takes all or nothing.
    pub(crate) fn enter(
        &self,
        now: u64,
        agent: DeploymentId,
        host: &str,
    ) -> Result<Place, Limited> {
        let caps = &self.caps;
        let mut shares = self.shares.lock().expect("nobody panics with it");
        let Shares { agents, hosts } = &mut *shares;
        forget(agents, now);
        forget(hosts, now);
        let mine = agents.entry(agent).or_insert_with(|| Share {
            open: 0,
            requests: Bucket::new(now, caps.agent_requests_burst, caps.agent_requests_per_minute),
            bytes: Bucket::new(now, caps.agent_bytes_burst.0, caps.agent_bytes_per_minute.0),
        });
        let theirs = hosts.entry(host.to_owned()).or_insert_with(|| Share {
            open: 0,
            requests: Bucket::new(now, caps.host_requests_burst, caps.host_requests_per_minute),
            bytes: Bucket::new(now, 0_u64, 0_u64),
        });

        mine.free("connections of this agent", caps.agent_connections_max)?;
        theirs.free("connections to this host", caps.host_connections_max)?;
        mine.requests.has(now, 1, "requests of this agent")?;
        mine.bytes.has(now, 1, "bytes of this agent")?;
        theirs.requests.has(now, 1, "requests to this host")?;

        mine.requests.charge(1);
        theirs.requests.charge(1);
        mine.open += 1;
        theirs.open += 1;
        Ok(Place { shares: self.shares.clone(), agent, host: host.to_owned() })
    }

    /// Charges an agent for bytes that went either way. It may fall into debt: how much an answer has is
    /// known only when it is there.
    pub(crate) fn spent(&self, agent: DeploymentId, bytes: u64) {
        let mut shares = self.shares.lock().expect("nobody panics with it");
        if let Some(share) = shares.agents.get_mut(&agent) {
            share.bytes.charge(bytes);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shares = self.shares.lock().expect("nobody panics with it");
        let Shares { agents, hosts } = &mut *shares;
        for share in agents.get_mut(&self.agent).into_iter().chain(hosts.get_mut(&self.host)) {
            share.open -= 1;
        }
    }
}

impl Share {
    fn free(&self, what: &'static str, max: u32) -> Result<(), Limited> {
        match self.open < max {
            true => Ok(()),
            // When a place gets free nobody knows; a second is a fair guess.
            false => Err(Limited { what, limit: max.into(), wait_millis: 1000 }),
        }
    }
}

/// Forgets shares that are as good as new, once there are many.
fn forget<K: Ord + Hash>(shares: &mut BTreeMap<K, Share>, now: u64) {
    if shares.len() >= REMEMBERED_MAX {
        shares.retain(|_, share| {
            share.requests.fill(now);
            share.bytes.fill(now);
            share.open > 0 || !share.requests.is_full() || !share.bytes.is_full()
        });
    }
}

/// A token bucket in whole numbers: a level in 60,000ths of a token, so that a rate per minute fills it
/// by that many each millisecond.
#[derive(Debug)]
struct Bucket {
    burst: u64,
    per_minute: u64,
    level: i128,
    filled_at: u64,
}

const UNIT: i128 = 60_000;

impl Bucket {
    fn new(now: u64, burst: impl Into<u64>, per_minute: impl Into<u64>) -> Self {
        let burst = burst.into();
        let level = i128::from(burst) * UNIT;
        Self { burst, per_minute: per_minute.into(), level, filled_at: now }
    }

    fn fill(&mut self, now: u64) {
        let passed = now.saturating_sub(self.filled_at);
        let full = i128::from(self.burst) * UNIT;
        self.level = full.min(self.level + i128::from(passed) * i128::from(self.per_minute));
        self.filled_at = self.filled_at.max(now);
    }

    fn is_full(&self) -> bool {
        self.level == i128::from(self.burst) * UNIT
    }

    fn has(&mut self, now: u64, tokens: u64, what: &'static str) -> Result<(), Limited> {
        self.fill(now);
        let short = i128::from(tokens) * UNIT - self.level;
        if short <= 0 {
            return Ok(());
        }
        let wait = match self.per_minute {
            0 => u64::MAX,
            rate => u64::try_from((short as u128).div_ceil(rate.into())).unwrap_or(u64::MAX),
        };
        Err(Limited { what, limit: self.burst, wait_millis: wait })
    }

    fn charge(&mut self, tokens: u64) {
        self.level -= i128::from(tokens) * UNIT;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPS: Caps = Caps {
        agent_connections_max: 2,
        agent_requests_burst: 3,
        agent_requests_per_minute: 60,
        agent_bytes_burst: ByteSize(1000),
        agent_bytes_per_minute: ByteSize(60_000),
        host_connections_max: 3,
        host_requests_burst: 5,
        host_requests_per_minute: 60,
        request_bytes_max: ByteSize(100),
        answer_bytes_max: ByteSize(100),
        exchange_millis_max: 1000,
    };

    fn check(meter: &Meter, now: u64, agent: u64, what: Result<(), (&str, u64)>) -> Option<Place> {
        let entered = meter.enter(now, DeploymentId(agent), "a.example");
        let got =
            entered.as_ref().map(|_| ()).map_err(|limited| (limited.what, limited.wait_millis));
        assert_eq!(got, what);
        entered.ok()
    }

    #[test]
    fn an_agent_has_so_many_connections_and_gets_them_back() {
        let meter = Meter::new(CAPS);
        let first = check(&meter, 0, 1, Ok(()));
        let second = check(&meter, 0, 1, Ok(()));
        check(&meter, 0, 1, Err(("connections of this agent", 1000)));
        drop(first);
        check(&meter, 0, 1, Ok(()));
        drop(second);
    }

    #[test]
    fn requests_come_back_with_time_and_not_before() {
        let meter = Meter::new(CAPS);
        for _ in 0..3 {
            check(&meter, 0, 1, Ok(()));
        }
        check(&meter, 0, 1, Err(("requests of this agent", 1000)));
        check(&meter, 999, 1, Err(("requests of this agent", 1)));
        check(&meter, 1000, 1, Ok(()));
        check(&meter, 1000, 1, Err(("requests of this agent", 1000)));
    }

    #[test]
    fn one_host_is_shared_by_all_agents() {
        let meter = Meter::new(CAPS);
        let _held: Vec<_> = (1..=3).map(|agent| check(&meter, 0, agent, Ok(()))).collect();
        check(&meter, 0, 4, Err(("connections to this host", 1000)));
        drop(_held);
        check(&meter, 0, 4, Ok(()));
        check(&meter, 0, 5, Ok(()));
        check(&meter, 0, 6, Err(("requests to this host", 1000)));
        assert!(meter.enter(0, DeploymentId(6), "b.example").is_ok());
    }

    #[test]
    fn what_was_refused_took_nothing() {
        let meter = Meter::new(CAPS);
        let _held: Vec<_> = (1..=3).map(|agent| check(&meter, 0, agent, Ok(()))).collect();
        for _ in 0..10 {
            check(&meter, 0, 4, Err(("connections to this host", 1000)));
        }
        drop(_held);
        check(&meter, 0, 4, Ok(()));
        check(&meter, 0, 4, Ok(()));
    }

    #[test]
    fn an_answer_that_was_too_much_is_paid_off_first() {
        let meter = Meter::new(CAPS);
        check(&meter, 0, 1, Ok(()));
        meter.spent(DeploymentId(1), 3000);
        check(&meter, 0, 1, Err(("bytes of this agent", 2001)));
        check(&meter, 2000, 1, Err(("bytes of this agent", 1)));
        check(&meter, 2001, 1, Ok(()));
    }

    #[test]
    fn hosts_at_rest_are_forgotten_and_busy_ones_are_not() {
        let meter = Meter::new(Caps { agent_requests_burst: u32::MAX, ..CAPS });
        for n in 0..REMEMBERED_MAX as u64 {
            drop(meter.enter(0, DeploymentId(1), &format!("{n}.example")).unwrap());
        }
        let held = meter.enter(0, DeploymentId(1), "held.example").unwrap();
        drop(meter.enter(60_000, DeploymentId(1), "late.example").unwrap());
        let hosts: Vec<_> = meter.shares.lock().unwrap().hosts.keys().cloned().collect();
        assert_eq!(hosts, ["held.example", "late.example"]);
        drop(held);
    }

    proptest! {
        #[test]
        fn no_bucket_gives_more_than_burst_and_rate(
            steps in prop::collection::vec((0_u64..5000, 0_u64..4), 1..200),
        ) {
            let mut bucket = Bucket::new(0, 10_u64, 120_u64);
            let (mut now, mut given) = (0, 0);
            for (pause, tokens) in steps {
                now += pause;
                if bucket.has(now, tokens, "").is_ok() {
                    bucket.charge(tokens);
                    given += tokens;
                }
                prop_assert!(given <= 10 + now * 120 / 60_000, "{given} by {now} ms");
            }
        }
    }
}
