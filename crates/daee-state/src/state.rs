use std::collections::BTreeMap;

use daee_types::{
    ByteSize, StateRoot, Timestamp,
    wire::{Reader, WireError, Writer},
};

use crate::{
    Delta, Effect, Machine, MachineDelta,
    delta::{flag, read_effects, write_effects},
    files::Files,
    root,
};

/// Everything an agent is between two turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub(crate) quota: ByteSize,
    pub(crate) keys: BTreeMap<String, Vec<u8>>,
    pub(crate) keys_bytes: u64,
    pub(crate) files: Files,
    pub(crate) timers: BTreeMap<String, Timestamp>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) machine: Option<Machine>,
}

impl State {
    /// An agent that has not run yet. `quota` bounds the bytes of its keys, values, files
    /// and their names together.
    pub fn new(quota: ByteSize) -> Self {
        Self {
            quota,
            keys: BTreeMap::new(),
            keys_bytes: 0,
            files: Files::default(),
            timers: BTreeMap::new(),
            effects: Vec::new(),
            machine: None,
        }
    }

    /// The most bytes its keys, values and files may take together.
    pub fn quota(&self) -> ByteSize {
        self.quota
    }

    /// Moves the quota, as a new version's manifest may. What is there already stays.
    pub fn set_quota(&mut self, quota: ByteSize) {
        self.quota = quota;
    }

    /// The value under a key.
    pub fn key(&self, key: &str) -> Option<&[u8]> {
        self.keys.get(key).map(Vec::as_slice)
    }

    /// Bytes that keys, values, files and their names take.
    pub fn used(&self) -> ByteSize {
        ByteSize(self.keys_bytes + self.files.bytes)
    }

    /// Pending timers by name.
    pub fn timers(&self) -> &BTreeMap<String, Timestamp> {
        &self.timers
    }

    /// Effects not yet released, oldest first.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// A reactor's memory; nothing before its first turn and for other styles.
    pub fn machine(&self) -> Option<&Machine> {
        self.machine.as_ref()
    }

    /// Takes in what a turn changed.
    pub fn apply(&mut self, delta: Delta) {
        for (key, value) in delta.keys {
            let before = self.keys.get(&key).map_or(0, |old| cost(&key, old));
            let after = value.as_ref().map_or(0, |new| cost(&key, new));
            self.keys_bytes = self.keys_bytes - before + after;
            match value {
                Some(value) => self.keys.insert(key, value),
                None => self.keys.remove(&key),
            };
        }
        self.files.apply(delta.files);
        self.files.made = delta.files_made.unwrap_or(self.files.made);
        for (name, at) in delta.timers {
            match at {
                Some(at) => self.timers.insert(name, at),
                None => self.timers.remove(&name),
            };
        }
        if let Some(turn) = delta.released_to {
            self.effects.retain(|effect| effect.turn > turn);
        }
        self.effects.extend(delta.effects);
        if delta.fresh_machine {
            self.machine = None;
        }
        if let Some(machine) = delta.machine {
            self.machine.get_or_insert_default().apply(machine);
        }
    }

    /// The one root over all of it (DESIGN 8; the composition is in `docs/spec/roots.md`).
    pub fn root(&self) -> StateRoot {
        root::of(self)
    }

    /// The bytes that [`State::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.byte(VERSION).u64(self.quota.0).u32(self.keys.len() as u32);
        for (key, value) in &self.keys {
            out.bytes(key.as_bytes()).bytes(value);
        }
        self.files.write(&mut out);
        out.u32(self.timers.len() as u32);
        for (name, at) in &self.timers {
            out.bytes(name.as_bytes()).u64(at.0);
        }
        write_effects(&self.effects, &mut out);
        match &self.machine {
            Some(machine) => machine.to_delta().write(out.byte(1)),
            None => {
                out.byte(0);
            }
        }
        out.finish()
    }

    /// Reads what [`State::encode`] wrote. Bytes from a peer are safe to give it: they cost no more
    /// than their own size, and the caller compares [`State::root`] with the root it trusts.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(bytes);
        if from.byte()? != VERSION {
            return Err(from.wrong("unknown version of a state"));
        }
        let mut state = Self::new(ByteSize(from.u64()?));
        for _ in 0..from.count(8)? {
            let key = from.text()?.to_owned();
            let value = from.bytes()?.to_vec();
            if state.keys.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(from.wrong("keys are out of order"));
            }
            state.keys_bytes += cost(&key, &value);
            state.keys.insert(key, value);
        }
        state.files = Files::read(&mut from)?;
        for _ in 0..from.count(12)? {
            let name = from.text()?.to_owned();
            let at = Timestamp(from.u64()?);
            if state.timers.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(from.wrong("timers are out of order"));
            }
            state.timers.insert(name, at);
        }
        state.effects = read_effects(&mut from)?;
        if flag(&mut from)? {
            state.machine.get_or_insert_default().apply(MachineDelta::read(&mut from)?);
        }
        from.finish()?;
        Ok(state)
    }
}

const VERSION: u8 = 2;

/// What one key costs of the quota.
pub(crate) fn cost(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}
