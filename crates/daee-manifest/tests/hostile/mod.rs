//! 64 KiB of what costs YAML readers most.

use daee_manifest::MANIFEST_BYTES_MAX;

/// Each by its name.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let repeated: &[(&str, &str)] = &[
        ("brackets", "["),
        ("braces", "{"),
        ("closing brackets", "]"),
        ("brackets and commas", "[,"),
        ("braces with keys", "{a: "),
        ("dashes", "- "),
        ("questions", "? "),
        ("questions on lines", "? a\n"),
        ("colons", ": "),
        ("keys in keys", "a: "),
        ("spaces", " "),
        ("line breaks", "\n"),
        ("carriage returns", "\r"),
        ("line ends of two", "\r\n"),
        ("tabs", "\t"),
        ("one long word", "a"),
        ("double quotes", "\""),
        ("single quotes", "'"),
        ("escapes", "\\u0041"),
        ("backslashes", "\\"),
        ("comments", "#\n"),
        ("comments behind", "a #\n"),
        ("blocks", "|\n"),
        ("blocks in lists", "- |\n"),
        ("anchors", "&a "),
        ("aliases", "*a "),
        ("tags", "!a "),
        ("long tag", "!a"),
        ("percent", "%"),
        ("directives", "%YAML 1.2\n"),
        ("documents", "---\n"),
        ("controls", "\u{1}"),
        ("marks that turn", "\u{202e}"),
        ("marks on lines", "\u{202e}\n"),
        ("wide characters", "\u{1f600}"),
        ("NUL", "\0"),
        ("JSON in JSON", "{\"a\":"),
    ];
    let within: &[(&str, &str, &str, &str)] = &[
        ("flow list", "args: [", "a,", "]"),
        ("flow list of anchors", "args: [", "&a a,", "]"),
        ("flow list of aliases", "a: &a b\nargs: [", "*a,", "]"),
        ("flow list of tags", "args: [", "!a b,", "]"),
        ("flow list of numbers", "args: [", "1,", "]"),
        ("flow list of questions", "args: [", "? a,", "]"),
        ("flow list of pairs", "args: [", "a: b,", "]"),
        ("flow map of nothing", "env: {", "a,", "}"),
        ("shallow brackets", "args: [", "[],", "]"),
        ("nested to the limit", "args: [", "[[[[[[]]]]]],", "]"),
        ("permissions", "permissions: [", "network_outbund:a.example.org,", "]"),
        ("stars", "permissions: [", "\"network_outbound:*.a.b.c.d.co.uk\",", "]"),
        ("double quoted", "description: \"", "a ", "\""),
        ("double quoted escapes", "description: \"", "\\x41", "\""),
        ("double quoted lines", "description: \"", "a\n ", "\""),
        ("double quoted unclosed", "description: \"", "a\n ", ""),
        ("single quoted quotes", "description: '", "''", "'"),
        ("plain over lines", "description:", " a\n", ""),
        ("block of lines", "description: |\n", "  a\n", ""),
        ("block of blank lines", "description: |\n", " \n", ""),
        ("folded lines", "description: >\n", "  a\n", ""),
        ("folded blank lines", "description: >\n", "  a\n\n", ""),
        ("block list", "args:\n", "- a\n", ""),
        ("block map of one key", "env:\n", "  a: b\n", ""),
        ("merge keys", "env: {", "<<: a,", "}"),
        ("comments in a list", "args: [\n", "# a\n", "]"),
        ("labels", "agent_id: ", "a.", "@v1.0.0"),
        ("version", "agent_id: a.b@v1.0.0-", "0.", "0"),
        ("schedule", "schedule: \"", "*/1,", " * * * *\""),
        ("path", "entry_point: ", "../", "a.wasm"),
        ("JSON list", "{\"args\":[", "\"\",", "\"\"]}"),
        ("JSON list of permissions", "{\"permissions\":[", "\"a\",", "\"\"]}"),
        ("JSON lists", "{\"args\":[", "[],", "[]]}"),
    ];
    let mut hostile = Vec::new();
    for (name, piece) in repeated {
        hostile.push((*name, filled("", piece, "")));
    }
    for (name, before, piece, after) in within {
        hostile.push((*name, filled(before, piece, after)));
    }
    let numbered = |line: &dyn Fn(usize) -> String| {
        let mut text: String = (0..9_000).map(line).collect();
        text.truncate(MANIFEST_BYTES_MAX);
        text.into_bytes()
    };
    hostile.push(("many keys", numbered(&|n| format!("k{n}: v\n"))));
    hostile.push(("keys near to known ones", numbered(&|n| format!("permisson{n}: v\n"))));
    hostile.push(("many anchors", numbered(&|n| format!("k{n}: &a{n} v\n"))));
    let as_json = |before: &str, pair: &dyn Fn(usize) -> String| {
        let pairs: Vec<String> = (0..3_500).map(pair).collect();
        format!("{{{before}{}}}", pairs.join(",")).into_bytes()
    };
    hostile.push(("JSON of many keys", as_json("", &|n| format!("\"permisson{n}\":\"\""))));
    hostile.push(("JSON of many variables", as_json("\"env\":{", &|n| format!("\"A{n}\":\"\""))));
    hostile.push(("deeper and deeper", numbered(&|n| format!("{}a:\n", " ".repeat(n.min(300))))));
    hostile.push(("steps", numbered(&|n| format!("{}- a\n", " ".repeat(300 - n.min(300))))));
    hostile.push(("not UTF-8", vec![0xff; MANIFEST_BYTES_MAX]));
    hostile.push(("UTF-8 cut short", "\u{1f600}".repeat(16_383).into_bytes()[..65_531].to_vec()));
    hostile.push(("too large", vec![b'a'; MANIFEST_BYTES_MAX + 1]));
    hostile
}

fn filled(before: &str, piece: &str, after: &str) -> Vec<u8> {
    let room = MANIFEST_BYTES_MAX - before.len() - after.len();
    [before, &piece.repeat(room / piece.len()), after].concat().into_bytes()
}
