//! The workspace as `cargo metadata` tells it, reduced to what the rules ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

pub struct Workspace {
    pub members: Vec<Member>,
}

pub struct Member {
    pub name: String,
    pub description: String,
    pub folder: PathBuf,
    pub library: bool,
    pub dependencies: Vec<Dependency>,
    /// Every crate that is linked into this one, however deep. Tests and build scripts do not count.
    pub reaches: BTreeSet<String>,
}

pub struct Dependency {
    pub name: String,
    /// Only for tests, examples and benches.
    pub dev: bool,
}

impl Workspace {
    pub fn read(metadata: &Value) -> Workspace {
        let graph = Graph::read(metadata);
        let members: BTreeSet<&str> = array(&metadata["workspace_members"]).map(text).collect();
        let packages = array(&metadata["packages"]);
        let own = packages.filter(|package| members.contains(text(&package["id"])));
        Workspace { members: own.map(|package| Member::read(package, &graph)).collect() }
    }
}

impl Member {
    fn read(package: &Value, graph: &Graph<'_>) -> Member {
        let kinds = array(&package["targets"]).flat_map(|target| array(&target["kind"]));
        Member {
            name: text(&package["name"]).to_owned(),
            description: package["description"].as_str().unwrap_or_default().to_owned(),
            folder: PathBuf::from(text(&package["manifest_path"])).parent().unwrap().to_owned(),
            library: kinds.map(text).any(|kind| kind == "lib"),
            dependencies: array(&package["dependencies"]).map(Dependency::read).collect(),
            reaches: graph.reached_from(text(&package["id"])),
        }
    }
}

impl Dependency {
    fn read(dependency: &Value) -> Dependency {
        Dependency {
            name: text(&dependency["name"]).to_owned(),
            dev: dependency["kind"].as_str() == Some("dev"),
        }
    }
}

/// Which package links which, by id.
struct Graph<'a> {
    names: BTreeMap<&'a str, &'a str>,
    links: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    fn read(metadata: &'a Value) -> Graph<'a> {
        let linked = |node: &'a Value| {
            array(&node["deps"])
                .filter(|dep| array(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null()))
                .map(|dep| text(&dep["pkg"]))
                .collect()
        };
        Graph {
            names: array(&metadata["packages"])
                .map(|package| (text(&package["id"]), text(&package["name"])))
                .collect(),
            links: array(&metadata["resolve"]["nodes"])
                .map(|node| (text(&node["id"]), linked(node)))
                .collect(),
        }
    }

    fn reached_from(&self, id: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut next = self.links.get(id).cloned().unwrap_or_default();
        while let Some(id) = next.pop() {
            if reached.insert(id) {
                next.extend(self.links.get(id).into_iter().flatten());
            }
        }
        reached.into_iter().map(|id| self.names[id].to_owned()).collect()
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("cargo metadata has this list").iter()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo metadata has this text")
}
