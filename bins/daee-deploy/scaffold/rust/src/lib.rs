//! Greets whoever asks for `/`, and counts how often.

use daee_agent::{Answer, Error, Event, Request, What, log, state::Key};

daee_agent::reactor!(turn);

/// In the state the count outlives this module and this node.
const VISITS: Key<u64> = Key::new("visits");

/// Handles one event. An error is logged, and undoes what was done.
pub fn turn(event: Event) -> Result<Option<Answer>, Error> {
    match event.what {
        What::Http(request) => return answer(&request).map(Some),
        // With `schedule` in agent.yaml.
        What::Timer { .. } => log::info("on schedule"),
        _ => {}
    }
    Ok(None)
}

fn answer(request: &Request) -> Result<Answer, Error> {
    if request.path != "/" {
        return Ok(Answer::text(404, "there is only /\n"));
    }
    let visits = VISITS.update(|visits| *visits += 1)?;
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
