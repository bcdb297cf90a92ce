mod offered;
mod operations;
mod problem;
mod sections;
mod survey;
#[cfg(test)]
mod tests;

pub use offered::WASI;
pub use operations::{OPERATIONS, Operation};
pub use problem::ModuleProblem;
pub use survey::{ModuleSurvey, validate};

use sections::{Sections, Stop};
use survey::Survey;

/// Most bytes of a module beside the contents of its custom sections: what an engine has to read.
pub const MODULE_BYTES_MAX: usize = 32 << 20;

/// Most bytes of one function.
pub const FUNCTION_BYTES_MAX: usize = 1 << 20;

/// How an agent is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStyle {
    /// Exports `daee_turn`, which handles one event and returns.
    Reactor,
    /// A WASI command whose `_start` loops on the next event.
    Resident,
    /// A WASI command started afresh for each event.
    PerEvent,
}

/// What a module that passed is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFacts {
    /// How it is entered.
    pub style: RunStyle,
    /// Pages of 64 KiB its memory starts with.
    pub memory_pages: u64,
    /// Pages its memory may grow to, where it says so.
    pub memory_pages_max: Option<u64>,
    /// Whether it imports the door. A program that does not speaks through its standard streams.
    pub door: bool,
    /// Operations of the door that its data names, of those in [`OPERATIONS`]: a hint at what it uses, for
    /// a name may be there unused, and may be put together while it runs.
    pub operations: Vec<&'static str>,
}

/// Checks whether a module can run, and how. `wanted` is the manifest's `run`: nothing there means a
/// reactor. All problems at once, as far as the bytes can be understood.
pub fn check_module(
    bytes: &[u8],
    wanted: Option<RunStyle>,
) -> Result<ModuleFacts, Vec<ModuleProblem>> {
    let mut reader = ModuleReader::new();
    reader.update(bytes);
    reader.finish(wanted)
}

/// Checks a module that comes in pieces and may be too large to hold. One section or function is kept at a
/// time, and of custom sections the name alone, or of
/// `daee.files` the paths: memory is bounded by [`MODULE_BYTES_MAX`] and some.
pub struct ModuleReader {
    sections: Sections,
    survey: Survey,
}

impl ModuleReader {
    /// Before the first piece.
    pub fn new() -> Self {
        let sections = Sections::new(MODULE_BYTES_MAX as u64, FUNCTION_BYTES_MAX as u64);
        Self { sections, survey: Survey::new() }
    }

    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        let survey = &mut self.survey;
        let cut =
            self.sections.update(piece, |unit, bytes, skipped| survey.see(unit, bytes, skipped));
        match cut {
            Ok(()) => {}
            Err(Stop::Over) => survey.over(),
            Err(Stop::Body(bytes)) => survey.large_function(bytes),
            Err(Stop::Malformed(what)) => survey.malformed(what, self.sections.stopped_at()),
        }
    }

    /// What there is to know of all pieces together, however the module is to run.
    pub fn survey(mut self) -> ModuleSurvey {
        self.survey.end(&self.sections);
        self.survey.into()
    }

    /// What [`check_module`] says of all pieces together.
    pub fn finish(self, wanted: Option<RunStyle>) -> Result<ModuleFacts, Vec<ModuleProblem>> {
        self.survey().judge(wanted)
    }
}

impl Default for ModuleReader {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for ModuleReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModuleReader").field("bytes", &self.sections.came()).finish_non_exhaustive()
    }
}
