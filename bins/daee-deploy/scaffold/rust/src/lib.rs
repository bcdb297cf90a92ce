//! Greets whoever asks for `/`, and counts how often.

use daee_agent::{Answer, Error, Event, Request, What, log, reactor, state};

reactor!(turn);

/// Handles one event. An error is logged, and undoes what was done.
pub fn turn(event: Event) -> Result<(), Error> {
    match event.what {
        What::Http(request) => answer(&request)?.send(),
        // With `schedule` in agent.yaml.
        What::Timer { .. } => {
            log::info("on schedule");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn answer(request: &Request) -> Result<Answer, Error> {
    if request.path != "/" {
        return Ok(Answer::text(404, "there is only /\n"));
    }
    // In the state the count outlives this module and this node.
    let visits = state::get_json("visits")?.unwrap_or(0_u64) + 1;
    state::set_json("visits", &visits)?;
    let greeting = format!("hello from {{name}}, visit {visits}");
    log::info(&greeting);
    Ok(Answer::text(200, greeting + "\n"))
}

#[cfg(test)]
mod tests {
    use daee_agent::testing::Door;

    use super::*;

    #[test]
    fn visits_are_counted() {
        let mut door = Door::new();
        for visit in 1..=2 {
            let turned = door.turn(What::Http(Request::get("/")), turn);
            let expected = format!("hello from {{name}}, visit {visit}\n");
            assert_eq!(turned.answer.unwrap().body, expected.as_bytes());
        }
    }

    #[test]
    fn there_is_nothing_else() {
        let turned = Door::new().turn(What::Http(Request::get("/other")), turn);
        assert_eq!(turned.answer.unwrap().status, 404);
    }
}
