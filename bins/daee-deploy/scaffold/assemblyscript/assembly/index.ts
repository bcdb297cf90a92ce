// Greets whoever asks for /, and counts how often.
import { NOT_FOUND, call, field, log, must } from "./door";

/** Called once for each event. 0 keeps what was done; anything else undoes it. */
export function daee_turn(): i32 {
  const event = must("event.next", "{}").head;
  const kind = field(event, "kind");
  if (kind == "http") {
    if (field(event, "path") == "/") greet();
    else answer(404, "there is only /\n");
  }
  // With `schedule` in agent.yaml.
  if (kind == "timer") log("info", "on schedule");
  return 0;
}

/** Counts a visit in the state, where it outlives this module and this node. */
function greet(): void {
  const kept = call("state.get", '{"key":"visits"}');
  if (kept.code < 0 && kept.code != NOT_FOUND) throw new Error(kept.head);
  const visits = kept.code < 0 ? 1 : U64.parseInt(kept.text()) + 1;
  must("state.set", '{"key":"visits"}', visits.toString());
  const greeting = `hello from {{name}}, visit ${visits}`;
  log("info", greeting);
  answer(200, greeting + "\n");
}

function answer(status: i32, body: string): void {
  must("event.answer", `{"headers":[["content-type","text/plain"]],"status":${status}}`, body);
}
