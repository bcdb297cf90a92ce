use daee_types::ByteSize;

/// The bounds of one agent. Each ends in an [`Outcome`](crate::Outcome) of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fuel of one turn: roughly one for each instruction, see `docs/spec/door.md`.
    pub fuel_turn: u64,
    /// Milliseconds of wall time that one turn may compute. Waiting for the outside is not counted.
    pub wall_turn_millis: u64,
    /// Linear memory; no more than 2 GiB counts, so that a snapshot of it can be written.
    pub memory_max: ByteSize,
    /// Elements of each table.
    pub table_elements_max: u32,
    /// Bytes of log text in one turn.
    pub log_turn_max: ByteSize,
    /// Bytes of an input or an answer at the door.
    pub door_frame_max: ByteSize,
    /// Operations at the door in one turn.
    pub door_calls_max: u32,
}

impl Limits {
    /// With no more fuel than the counter can hold, and no more memory than a snapshot can.
    pub(crate) fn clamped(mut self) -> Self {
        self.memory_max = self.memory_max.min(ByteSize::gib(2));
        self.fuel_turn = self.fuel_turn.min(i64::MAX.unsigned_abs());
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel_turn: 2_000_000_000,
            wall_turn_millis: 10_000,
            memory_max: ByteSize::mib(256),
            table_elements_max: 100_000,
            log_turn_max: ByteSize::kib(64),
            door_frame_max: ByteSize::mib(8),
            door_calls_max: 100_000,
        }
    }
}
