use std::ops::Bound;

use daee_types::{Coded, Fault, Timestamp, Word, sha256};

use crate::{Delta, Effect, MachineDelta, State, state::cost};

mod files;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Largest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Most timers pending at once.
pub const TIMERS_MAX: usize = 64;
/// Longest timer name, in bytes.
pub const TIMER_NAME_BYTES_MAX: usize = 64;
/// Most effects one agent may have waiting.
pub const EFFECTS_MAX: usize = 64;
/// Most data of one effect, in bytes.
pub const EFFECT_BYTES_MAX: usize = 4096;

/// Why a write was refused. Always the agent's own doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Empty or too long.
    #[error("a key is 1 to {KEY_BYTES_MAX} bytes, this one is {0}")]
    Key(usize),
    /// Too large.
    #[error("a value is at most {VALUE_BYTES_MAX} bytes, this one is {0}")]
    Value(usize),
    /// The quota is used up.
    #[error(
        "the state would take {wanted} bytes of {quota}: raise resources.storage or delete keys"
    )]
    Quota {
        /// Bytes it would take.
        wanted: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// Empty or too long.
    #[error("a timer's name is 1 to {TIMER_NAME_BYTES_MAX} bytes, this one is {0}")]
    TimerName(usize),
    /// Too many.
    #[error("at most {TIMERS_MAX} timers may be pending")]
    Timers,
    /// Empty or longer than a word.
    #[error("a topic is 1 to 32 bytes, this one is {0}")]
    Topic(usize),
    /// Too large.
    #[error("at most {EFFECT_BYTES_MAX} bytes may be published at once, these are {0}")]
    Published(usize),
    /// Too many wait to be released.
    #[error("{EFFECTS_MAX} values wait to be published: publish less often")]
    Effects,
}

impl Coded for StateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Key(_) => "DAEE-T001",
            Self::Value(_) => "DAEE-T002",
            Self::Quota { .. } => "DAEE-T003",
            Self::TimerName(_) => "DAEE-T004",
            Self::Timers => "DAEE-T005",
            Self::Topic(_) => "DAEE-T006",
            Self::Published(_) => "DAEE-T007",
            Self::Effects => "DAEE-T008",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

/// What a compare-and-set expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No such key.
    Absent,
    /// A value with this SHA-256.
    Sha256(Word),
}

/// One turn's view of the state: reads see its own writes, and nothing is changed until it is
/// finished and applied. Dropping it is the rollback.
#[derive(Debug)]
pub struct Draft<'a> {
    base: &'a State,
    delta: Delta,
    used: u64,
    timers: usize,
    counts: files::Counts,
}

impl<'a> Draft<'a> {
    /// Starts from a state.
    pub fn new(base: &'a State) -> Self {
        Self {
            base,
            delta: Delta::default(),
            used: base.used().0,
            timers: base.timers.len(),
            counts: files::Counts::of(base),
        }
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        match self.delta.keys.get(key) {
            Some(written) => written.as_deref(),
            None => self.base.key(key),
        }
    }

    /// Writes a key.
    pub fn set(&mut self, key: &str, value: Vec<u8>) -> Result<(), StateError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(StateError::Key(key.len()));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(StateError::Value(value.len()));
        }
        let before = self.get(key).map_or(0, |old| cost(key, old));
        let wanted = self.used - before + cost(key, &value);
        let quota = self.base.quota.0;
        if wanted > quota {
            return Err(StateError::Quota { wanted, quota });
        }
        self.used = wanted;
        self.delta.keys.insert(key.to_owned(), Some(value));
        Ok(())
    }

    /// Removes a key; says whether it was there.
    pub fn delete(&mut self, key: &str) -> bool {
        let Some(old) = self.get(key) else { return false };
        self.used -= cost(key, old);
        if self.base.keys.contains_key(key) {
            self.delta.keys.insert(key.to_owned(), None);
        } else {
            self.delta.keys.remove(key);
        }
        true
    }

    /// Writes a key if it holds what is expected; says whether it did.
    pub fn cas(&mut self, key: &str, expect: Expected, value: Vec<u8>) -> Result<bool, StateError> {
        let holds = match (self.get(key), expect) {
            (None, Expected::Absent) => true,
            (Some(now), Expected::Sha256(hash)) => sha256(now) == hash,
            _ => false,
        };
        if holds {
            self.set(key, value)?;
        }
        Ok(holds)
    }

    /// Keys that start with `prefix` and come behind `after`, in order, at most `limit`.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<&str> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = (from, Bound::Unbounded);
        let mut base =
            self.base.keys.range::<str, _>(range).map(|(key, _)| key.as_str()).peekable();
        let mut drafted = self.delta.keys.range::<str, _>(range).peekable();
        let mut found = Vec::new();
        while found.len() < limit {
            let next = match (base.peek(), drafted.peek()) {
                (None, None) => break,
                (Some(key), Some((changed, _))) if *key < changed.as_str() => base.next(),
                (Some(_), None) => base.next(),
                (old, Some((changed, _))) => {
                    if old.is_some_and(|old| *old == changed.as_str()) {
                        base.next();
                    }
                    let (key, value) = drafted.next().expect("it was just peeked at");
                    if value.is_none() {
                        continue;
                    }
                    Some(key.as_str())
                }
            };
            match next {
                Some(key) if key.starts_with(prefix) => found.push(key),
                _ => break,
            }
        }
        found
    }

    /// Sets a timer, or moves it.
    pub fn set_timer(&mut self, name: &str, at: Timestamp) -> Result<(), StateError> {
        if name.is_empty() || name.len() > TIMER_NAME_BYTES_MAX {
            return Err(StateError::TimerName(name.len()));
        }
        if !self.has_timer(name) {
            if self.timers >= TIMERS_MAX {
                return Err(StateError::Timers);
            }
            self.timers += 1;
        }
        self.delta.timers.insert(name.to_owned(), Some(at));
        Ok(())
    }

    /// Cancels a timer; says whether there was one.
    pub fn cancel_timer(&mut self, name: &str) -> bool {
        if !self.has_timer(name) {
            return false;
        }
        self.timers -= 1;
        if self.base.timers.contains_key(name) {
            self.delta.timers.insert(name.to_owned(), None);
        } else {
            self.delta.timers.remove(name);
        }
        true
    }

    /// Adds something to be released when the turn is kept.
    pub fn add_effect(&mut self, effect: Effect) -> Result<(), StateError> {
        if effect.topic.is_empty() || effect.topic.len() > 32 {
            return Err(StateError::Topic(effect.topic.len()));
        }
        if effect.data.len() > EFFECT_BYTES_MAX {
            return Err(StateError::Published(effect.data.len()));
        }
        if self.base.effects.len() + self.delta.effects.len() >= EFFECTS_MAX {
            return Err(StateError::Effects);
        }
        self.delta.effects.push(effect);
        Ok(())
    }

    /// Takes what the turn left in memory and globals.
    pub fn set_machine(&mut self, machine: MachineDelta) {
        self.delta.machine = Some(machine);
    }

    /// What changed.
    pub fn finish(mut self) -> Delta {
        self.release_held();
        self.delta
    }

    fn has_timer(&self, name: &str) -> bool {
        match self.delta.timers.get(name) {
            Some(at) => at.is_some(),
            None => self.base.timers.contains_key(name),
        }
    }
}

#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod tests;
