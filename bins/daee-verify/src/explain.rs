use std::io::{self, Write};

use clap::error::ErrorKind;
use daee_verdict::{Example, Rule, rule, rule_like, rules};
use serde_json::{Value, json};

use crate::arguments::{Format, refuse};

/// Lists all rules.
pub fn all(format: Format, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        let all: Vec<Value> = rules().map(as_json).collect();
        return writeln!(out, "{:#}", Value::from(all));
    }
    for rule in rules() {
        let level = as_json(rule)["level"].as_str().unwrap_or_default().to_owned();
        writeln!(out, "{}  {level:<7}  {}", rule.id, rule.name)?;
    }
    Ok(())
}

/// Explains the rule with this id or name.
pub fn one(wanted: &str, format: Format, out: &mut impl Write) -> io::Result<()> {
    let found = rule(wanted).or_else(|| rule(&wanted.to_uppercase()));
    let Some(rule) = found.or_else(|| rule(&wanted.to_lowercase())) else {
        let shown: String = wanted.chars().take(80).collect();
        let hint = rule_like(wanted).map_or("`daee-verify rules` lists them".to_owned(), |near| {
            format!("did you mean {} {}?", near.id, near.name)
        });
        let message = format!("{shown:?} is no rule: {hint}");
        refuse(ErrorKind::InvalidValue, message)
    };
    if format == Format::Json {
        return writeln!(out, "{:#}", as_json(rule));
    }
    let Rule { id, name, says, fix, .. } = rule;
    writeln!(out, "{id} {name}\n")?;
    writeln!(out, "What is wrong: {says}\nFix: {fix}")?;
    let level = as_json(rule)["level"].as_str().unwrap_or_default().to_owned();
    let fixed = if rule.fixed { ", whatever a policy says" } else { "" };
    writeln!(out, "Level: {level}{fixed}\n")?;
    let mut block = |title: &str, text: &str| {
        writeln!(out, "{title}:\n\n    {}\n", text.replace('\n', "\n    "))
    };
    match &rule.example {
        Example::Manifest { wrong, right } | Example::Module { wrong, right } => {
            block("Wrong", wrong)?;
            block("Right", right)?;
        }
        Example::Upgrade { old, new } => {
            block("From", old)?;
            block("To", new)?;
        }
        Example::Told(how) => block("Example", how)?,
    }
    writeln!(out, "{}", rule.url())
}

fn as_json(rule: &Rule) -> Value {
    let example = match &rule.example {
        Example::Manifest { wrong, right } | Example::Module { wrong, right } => {
            json!({ "wrong": wrong, "right": right })
        }
        Example::Upgrade { old, new } => json!({ "old": old, "new": new }),
        Example::Told(how) => json!({ "how": how }),
    };
    json!({
        "id": rule.id,
        "name": rule.name,
        "group": rule.group.name(),
        "level": rule.level,
        "fixed": rule.fixed,
        "says": rule.says,
        "fix": rule.fix,
        "example": example,
        "url": rule.url(),
    })
}
