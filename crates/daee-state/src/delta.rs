use std::collections::BTreeMap;

use daee_types::{
    Timestamp,
    wire::{Reader, WireError, Writer},
};

use crate::{MachineDelta, files::NodeDelta};

/// Something a turn wants done outside once it is kept: a value to publish on chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    /// The turn that wants it.
    pub turn: u64,
    /// Its place among that turn's calls; with the turn it is the effect's idempotency key.
    pub call: u32,
    /// 1 to 32 bytes of UTF-8.
    pub topic: String,
    /// What to publish.
    pub data: Vec<u8>,
}

/// What one turn changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    pub(crate) keys: BTreeMap<String, Option<Vec<u8>>>,
    pub(crate) files: BTreeMap<u64, NodeDelta>,
    pub(crate) files_made: Option<u64>,
    pub(crate) timers: BTreeMap<String, Option<Timestamp>>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) released_to: Option<u64>,
    pub(crate) machine: Option<MachineDelta>,
    pub(crate) fresh_machine: bool,
}

impl Delta {
    /// The delta that drops every effect of turns up to this one: they have been released.
    pub fn release_to(turn: u64) -> Self {
        Self { released_to: Some(turn), ..Self::default() }
    }

    /// The delta that forgets memory and globals, for a module that did not write them.
    pub fn forget_machine() -> Self {
        Self { fresh_machine: true, ..Self::default() }
    }

    /// True if applying it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Effects the turn added.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// The bytes that [`Delta::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.byte(VERSION).u32(self.keys.len() as u32);
        for (key, value) in &self.keys {
            out.bytes(key.as_bytes());
            match value {
                Some(value) => out.byte(1).bytes(value),
                None => out.byte(0),
            };
        }
        out.u32(self.files.len() as u32);
        for (number, node) in &self.files {
            node.write(out.u64(*number));
        }
        match self.files_made {
            Some(made) => out.byte(1).u64(made),
            None => out.byte(0),
        };
        out.u32(self.timers.len() as u32);
        for (name, at) in &self.timers {
            out.bytes(name.as_bytes());
            match at {
                Some(at) => out.byte(1).u64(at.0),
                None => out.byte(0),
            };
        }
        write_effects(&self.effects, &mut out);
        match self.released_to {
            Some(turn) => out.byte(1).u64(turn),
            None => out.byte(0),
        };
        out.byte(u8::from(self.fresh_machine));
        match &self.machine {
            Some(machine) => machine.write(out.byte(1)),
            None => {
                out.byte(0);
            }
        }
        out.finish()
    }

    /// Reads what [`Delta::encode`] wrote; anything else is an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(bytes);
        if from.byte()? != VERSION {
            return Err(from.wrong("unknown version of a delta"));
        }
        let mut keys = BTreeMap::new();
        for _ in 0..from.count(5)? {
            let key = from.text()?.to_owned();
            let value = if flag(&mut from)? { Some(from.bytes()?.to_vec()) } else { None };
            keys.insert(key, value);
        }
        let mut files = BTreeMap::new();
        for _ in 0..from.count(9)? {
            files.insert(from.u64()?, NodeDelta::read(&mut from)?);
        }
        let files_made = if flag(&mut from)? { Some(from.u64()?) } else { None };
        let mut timers = BTreeMap::new();
        for _ in 0..from.count(5)? {
            let name = from.text()?.to_owned();
            let at = if flag(&mut from)? { Some(Timestamp(from.u64()?)) } else { None };
            timers.insert(name, at);
        }
        let effects = read_effects(&mut from)?;
        let released_to = if flag(&mut from)? { Some(from.u64()?) } else { None };
        let fresh_machine = flag(&mut from)?;
        let machine = if flag(&mut from)? { Some(MachineDelta::read(&mut from)?) } else { None };
        from.finish()?;
        Ok(Self { keys, files, files_made, timers, effects, released_to, machine, fresh_machine })
    }
}

const VERSION: u8 = 2;

pub(crate) fn write_effects(effects: &[Effect], out: &mut Writer) {
    out.u32(effects.len() as u32);
    for effect in effects {
        out.u64(effect.turn).u32(effect.call);
        out.bytes(effect.topic.as_bytes()).bytes(&effect.data);
    }
}

pub(crate) fn read_effects(from: &mut Reader<'_>) -> Result<Vec<Effect>, WireError> {
    let mut effects = Vec::new();
    for _ in 0..from.count(20)? {
        effects.push(Effect {
            turn: from.u64()?,
            call: from.u32()?,
            topic: from.text()?.to_owned(),
            data: from.bytes()?.to_vec(),
        });
    }
    Ok(effects)
}

pub(crate) fn flag(from: &mut Reader<'_>) -> Result<bool, WireError> {
    match from.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(from.wrong("a flag is neither 0 nor 1")),
    }
}
