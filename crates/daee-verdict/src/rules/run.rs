use super::{Example, Group, Rule, fixed, rule_of};
use crate::Level;

/// What comes of running a recording again.
pub(super) const RULES: &[Rule] = &[
    rule(
        "DAEE-J001",
        "another-operation",
        "the agent does something else next than is recorded",
        "a recording in which a call was left out",
    ),
    rule(
        "DAEE-J002",
        "another-input",
        "an operation is asked something else than is recorded",
        "a recording in which a value that the agent set was changed",
    ),
    rule(
        "DAEE-J003",
        "another-result",
        "an operation comes to something else than is recorded",
        "a recording in which `state.get` was answered with a value that was never set",
    ),
    rule(
        "DAEE-J004",
        "impossible-answer",
        "an answer from outside is written as no node writes it",
        "a recording in which `http.fetch` was answered with bytes that are no answer",
    ),
    rule(
        "DAEE-J005",
        "impossible-event",
        "an event is written as no node writes it",
        "a recording in which an event has the number of another turn",
    ),
    rule(
        "DAEE-J006",
        "another-outcome",
        "a turn ends in another way than is recorded",
        "a recording in which a turn that trapped is said to have been kept",
    ),
    rule(
        "DAEE-J007",
        "another-fuel",
        "a turn uses other fuel than is recorded",
        "a recording in which a turn is said to have used more fuel than it did",
    ),
    rule(
        "DAEE-J008",
        "other-limits",
        "the agent was held to something else than its manifest says, or to less than a node grants",
        "a recording of an agent with half the memory of its manifest, or with one unit of fuel a turn",
    ),
    rule(
        "DAEE-J009",
        "another-state",
        "a cell was born on another state, or the turns lead to another, than is recorded",
        "a recording in which the claimed state root was changed",
    ),
    rule(
        "DAEE-J010",
        "another-log",
        "the turns lead to another log than is recorded",
        "a recording in which the claimed log root was changed",
    ),
    rule(
        "DAEE-J011",
        "another-transcript",
        "the entries are not the ones that the claim was made of",
        "a recording in which the order of two turns was changed",
    ),
    fixed(
        Group::Run,
        "DAEE-J012",
        "another-package",
        "the recording is of another package than the one given",
        "name the package that was deployed: its manifest hash is in the message",
        Example::Told("`daee-verify run` with the package of another version"),
    ),
    fixed(
        Group::Run,
        "DAEE-J013",
        "not-the-state",
        "the recording leads to another state than was expected, or begins with another",
        "take the recording that ends with the checkpoint which is on chain",
        Example::Told("`--expect-state-root` with the root of another checkpoint"),
    ),
    fixed(
        Group::Run,
        "DAEE-J014",
        "not-a-recording",
        "it is no recording, it was damaged, or its turns are none",
        "fetch it again: `daee-deploy record`",
        Example::Told("a `.run` file whose last bytes are missing"),
    ),
    rule_of(
        Group::Run,
        Level::Note,
        "DAEE-J015",
        "claimed-alone",
        "nothing says that the states are those of the chain",
        "`--expect-state-root`, with the root that is on chain",
        Example::Told("`daee-verify run oracle.car oracle.run`"),
    ),
    rule_of(
        Group::Run,
        Level::Note,
        "DAEE-J016",
        "observed-turns",
        "turns ended by the clock or with their cell, as no replay ends, and no verdict rests on them",
        "nothing, if they are few: how many there are is the node's word",
        Example::Told("a recording of an agent that was stopped once for computing too long"),
    ),
    fixed(
        Group::Run,
        "DAEE-J020",
        "cannot-run-again",
        "it cannot be told whether the recording is right; the exit code is 2",
        "the message says what is missing",
        Example::Told("a recording that another runtime version made"),
    ),
];

/// What convicts a node: no policy takes it back.
const fn rule(id: &'static str, name: &'static str, says: &'static str, how: &'static str) -> Rule {
    const FIX: &str = "nothing in the package: who recorded it has to answer for it";
    fixed(Group::Run, id, name, says, FIX, Example::Told(how))
}
