// Greets whoever asks for /, and counts how often.
import { NOT_FOUND, answer, bytes, log, next, state } from "./daee";

/** Called once for each event. 0 keeps what was done; anything else undoes it. */
export function daee_turn(): i32 {
  const event = next(), kind = event.string("kind");
  if (kind == "http") {
    if (event.string("path") == "/") greet();
    else answer(404, "text/plain", "there is only /\n").must();
  }
  // With `schedule` in agent.yaml.
  if (kind == "timer") log("info", "on schedule");
  return 0;
}

/** Counts a visit in the state, where it outlives this module and this node. */
function greet(): void {
  const kept = state.get("visits");
  const visits = kept.code == NOT_FOUND ? 1 : U64.parseInt(kept.must().text()) + 1;
  state.set("visits", bytes(visits.toString())).must();
  const greeting = `hello from {{name}}, visit ${visits}`;
  log("info", greeting);
  answer(200, "text/plain", greeting + "\n").must();
}
