// Greets whoever asks for /, and counts how often.
import { state } from "daee";

export function http(request) {
  if (request.path !== "/") return new Response("there is only /\n", { status: 404 });
  const visits = (state.get("visits") ?? 0) + 1;
  state.set("visits", visits);
  const line = `hello from {{name}}, visit ${visits}`;
  console.log(line);
  return `${line}\n`;
}

// With `schedule` in agent.yaml.
export function timer(event) {
  console.log("on schedule");
}
