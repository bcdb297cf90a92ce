use std::path::Path;

use serde_json::Value;

use super::{Report, build};
use crate::failure::Failure;
use crate::run::Run;
use crate::tools;

/// What the figures of `crates/daee-host/examples/start.rs` are called here, in the order of the work.
const FIGURES: &[(&str, &str)] = &[
    ("process whole", "process, whole"),
    ("process module", "process, module out of the cache"),
    ("process cell", "process, its walls, and the code in it"),
    ("process turn", "process, first turn"),
    ("jail", "process and walls alone"),
    ("thread whole", "thread, whole"),
    ("thread module", "thread, module out of the cache"),
    ("thread cell", "thread, and the code in it"),
    ("thread turn", "thread, first turn"),
    ("true", "/bin/true"),
];

/// What it takes to start the committed oracle from its verified artifact, whose compiled module is kept.
pub fn run(repo: &Path) -> Result<Report, Failure> {
    build(repo)?;
    let said = Run::new(tools::release(repo).join("examples/start"))
        .args([repo.join("docs/examples/oracle/oracle.wasm")])
        .text()?;
    report(&said)
        .ok_or_else(|| Failure::new(format!("no figures in {said}"), "look at who prints it"))
}

fn report(said: &str) -> Option<Report> {
    let said: Value = serde_json::from_str(said).ok()?;
    let millis = |name: &str| said["millis"][name].as_f64();
    let mut report = Report::new("start");
    for (name, shown) in FIGURES {
        report.figure(*shown, millis(name)?, "ms");
    }
    report.figure("walls, of 3 levels", said["level"].as_f64()?, "");
    report.ratio("process over thread", millis("process whole")? / millis("thread whole")?);
    report.ratio("process over /bin/true", millis("process whole")? / millis("true")?);
    Some(report)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_figure_is_shown_or_none() {
        let mut said = json!({"millis": {}, "level": 3});
        for (name, _) in FIGURES {
            said["millis"][name] = json!(4.0);
        }
        let shown = report(&said.to_string()).unwrap().json();
        assert_eq!(shown["figures"].as_object().unwrap().len(), FIGURES.len() + 1);
        assert_eq!(shown["ratios"]["process_over_thread"], 1.0);
        said["millis"].as_object_mut().unwrap().remove("jail");
        assert!(report(&said.to_string()).is_none());
        assert!(report("").is_none());
    }
}
