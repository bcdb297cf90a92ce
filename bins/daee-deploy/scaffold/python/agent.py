# Greets whoever asks for /, and counts how often.
from daee import Response, state


def http(request):
    if request.path != "/":
        return Response("there is only /\n", status=404)
    visits = state.get("visits", 0) + 1
    state.set("visits", visits)
    line = "hello from {{name}}, visit {}".format(visits)
    print(line)
    return line + "\n"


# With `schedule` in agent.yaml.
def timer(event):
    print("on schedule")
