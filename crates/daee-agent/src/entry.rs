use std::fmt::Display;

use crate::{Event, log};

/// Makes a `cdylib` an agent: exports `daee_turn`, which gives each event to this function. An error that it
/// returns is logged and rolls the turn back.
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

/// One turn of a reactor: what `daee_turn` returns.
#[doc(hidden)]
pub fn reactor_turn<E: Display>(turn: impl FnOnce(Event) -> Result<(), E>) -> i32 {
    let kept = Event::next()
        .map_err(|error| error.to_string())
        .and_then(|event| turn(event).map_err(|error| error.to_string()));
    match kept {
        Ok(()) => 0,
        Err(error) => {
            log::error(error);
            1
        }
    }
}

/// The `main` of a resident: gives each event to this function for as long as the cell lives. An error
/// that it returns is logged, rolls the turn back and ends the program; the next event starts it afresh.
pub fn resident<E: Display>(mut turn: impl FnMut(Event) -> Result<(), E>) -> ! {
    while reactor_turn(&mut turn) == 0 {}
    std::process::exit(1)
}
