use daee_policy::FORMS;
use serde_json::{Map, Value, json};

use crate::table::{self, FIELDS, Field, Holds, LIST_MAX, Text};

/// The JSON Schema of a manifest (draft 2020-12), for editors to complete and explain it by.
///
/// It is made from the table that the reader goes by, and takes every manifest that the reader takes. The
/// reader refuses more: what one schema cannot say, as that no day ever comes on which a schedule is due.
pub fn json_schema() -> Value {
    let mut schema = object(&FIELDS);
    let about = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:daee:manifest:1",
        "title": "agent.yaml",
        "description": "What an agent is, what it needs and what it may do (TIP-0042, section 3.1)",
    });
    schema.extend(about.as_object().cloned().unwrap_or_default());
    schema.into()
}

fn object(fields: &[&'static Field]) -> Map<String, Value> {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), of_field(field).into())).collect();
    let required: Vec<&str> = table::names_required(fields).collect();
    let object = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    object.as_object().cloned().unwrap_or_default()
}

fn of_field(field: &'static Field) -> Map<String, Value> {
    let mut schema = match &field.holds {
        Holds::Text(text) => of_text(text),
        Holds::List(text) => list(match field.name {
            "permissions" => permission(),
            _ => of_text(text),
        }),
        Holds::Pairs { name, value } => pairs(name, value),
        Holds::Fields(fields) => object(fields),
    };
    let left_out = if field.required { "required" } else { field.left_out };
    let says = match left_out {
        "required" => format!("{}. Required.", field.says),
        _ => format!("{}. If left out: {left_out}.", field.says),
    };
    schema.insert("title".to_owned(), field.name.into());
    schema.insert("description".to_owned(), says.into());
    if let Some(default) = field.default {
        schema.insert("default".to_owned(), default.into());
    }
    schema
}

fn of_text(text: &Text) -> Map<String, Value> {
    let mut schema = Map::new();
    let mut say = |keyword: &str, value: Value| schema.insert(keyword.to_owned(), value);
    say("type", "string".into());
    if !text.words.is_empty() {
        let one = |(word, says): &(&str, &str)| json!({ "const": word, "description": says });
        say("oneOf", text.words.iter().map(one).collect());
        return schema;
    }
    // The reader counts bytes and a schema characters, of which there are no more.
    say("maxLength", text.bytes_max.into());
    if let Some(pattern) = text.pattern {
        say("pattern", pattern.into());
    }
    if let Some(never) = text.never {
        say("not", json!({ "pattern": never }));
    }
    if !text.examples.is_empty() {
        say("examples", text.examples.into());
    }
    schema
}

fn permission() -> Map<String, Value> {
    let mut schema = Map::new();
    let form = |form: &daee_policy::Form| match form.value {
        None => json!({ "const": form.name, "description": form.allows }),
        Some(value) => json!({
            "title": format!("{}:{value}", form.name),
            "description": form.allows,
            "pattern": form.pattern,
            "examples": [form.example],
        }),
    };
    schema.insert("type".to_owned(), "string".into());
    schema.insert("anyOf".to_owned(), FORMS.iter().map(form).collect());
    schema.insert("examples".to_owned(), FORMS.iter().map(|form| form.example).collect());
    schema
}

fn list(items: Map<String, Value>) -> Map<String, Value> {
    let list =
        json!({ "type": "array", "items": items, "maxItems": LIST_MAX, "uniqueItems": true });
    list.as_object().cloned().unwrap_or_default()
}

fn pairs(name: &Text, value: &Text) -> Map<String, Value> {
    let pairs = json!({
        "type": "object",
        "propertyNames": of_text(name),
        "additionalProperties": of_text(value),
        "maxProperties": LIST_MAX,
    });
    pairs.as_object().cloned().unwrap_or_default()
}
