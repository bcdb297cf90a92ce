use std::fmt::Display;

use crate::{Answer, Error, Event, log};

/// Makes a `cdylib` an agent: exports `daee_turn`, which gives each event to this function and sends what it answers.
/// An error that it returns is logged and rolls the turn back.
///
/// ```
/// fn turn(event: daee_agent::Event) -> Result<(), daee_agent::Error> {
///     daee_agent::log::info(format!("turn {}", event.turn));
///     Ok(())
/// }
/// daee_agent::reactor!(turn);
/// ```
#[macro_export]
macro_rules! reactor {
    ($turn:path) => {
        #[cfg(target_family = "wasm")]
        #[unsafe(no_mangle)]
        extern "C" fn daee_turn() -> i32 {
            $crate::reactor_turn($turn)
        }
        // Where nothing is exported it is still used.
        #[cfg(not(target_family = "wasm"))]
        const _: fn() -> i32 = || $crate::reactor_turn($turn);
    };
}

/// What a turn may return: an [`Answer`], perhaps one, or nothing.
pub trait IntoAnswer {
    /// The answer, if there is one.
    fn into_answer(self) -> Option<Answer>;
}

impl IntoAnswer for () {
    fn into_answer(self) -> Option<Answer> {
        None
    }
}

impl IntoAnswer for Answer {
    fn into_answer(self) -> Option<Answer> {
        Some(self)
    }
}

impl IntoAnswer for Option<Answer> {
    fn into_answer(self) -> Option<Answer> {
        self
    }
}

/// One turn of a reactor: what `daee_turn` returns.
#[doc(hidden)]
pub fn reactor_turn<A: IntoAnswer, E: Display>(turn: impl FnOnce(Event) -> Result<A, E>) -> i32 {
    let said = |error: Error| error.to_string();
    let kept = Event::next()
        .map_err(said)
        .and_then(|event| turn(event).map_err(|error| error.to_string()))
        .and_then(|done| done.into_answer().map_or(Ok(()), |answer| answer.send().map_err(said)));
    match kept {
        Ok(()) => 0,
        Err(error) => {
            log::error(error);
            1
        }
    }
}

/// The `main` of a resident: gives each event to this function for as long as the cell lives, and sends what it
/// answers. An error that it returns is logged, rolls the turn back and ends the program; the next event starts it
/// afresh.
pub fn resident<A: IntoAnswer, E: Display>(mut turn: impl FnMut(Event) -> Result<A, E>) -> ! {
    while reactor_turn(&mut turn) == 0 {}
    std::process::exit(1)
}

/// The `main` of a program that is started for each event. An error that this function returns is logged and rolls the
/// turn back.
pub fn per_event<A: IntoAnswer, E: Display>(turn: impl FnOnce(Event) -> Result<A, E>) -> ! {
    std::process::exit(reactor_turn(turn))
}
