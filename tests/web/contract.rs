//! Answers against the OpenAPI document: the route, the status and the shape of the body.
//!
//! Knows as much of JSON Schema as the document uses, and refuses to guess about the rest.

use std::sync::OnceLock;

use serde_json::Value;

use crate::support::http::Answer;

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    let text = include_str!("../../www/openapi.json");
    DOCUMENT.get_or_init(|| serde_json::from_str(text).expect("the document is JSON"))
}

/// Panics if `answer` is not one the document allows for this request.
pub(crate) fn check(method: &str, path: &str, answer: &Answer) {
    let place = format!("{method} {path} -> {}", answer.status);
    assert!(answer.status < 500 || answer.status == 503, "{place}: {}", text(&answer.body));
    let path = path.split('?').next().unwrap_or_default();
    if path.contains("%00") && answer.status == 400 {
        return; // nginx looks at no request with a NUL in its path
    }
    let routes = document()["paths"].as_object().expect("paths");
    let route = routes.iter().find(|(template, _)| fits(template, path));
    let verb = method.to_ascii_lowercase();
    let operation = route.and_then(|(_, item)| {
        // A route that does not describe HEAD answers it as it answers GET.
        item.get(&verb).or_else(|| item.get("get").filter(|_| method == "HEAD"))
    });
    let Some(operation) = operation else {
        // Not in the document, so it must not exist.
        assert!(matches!(answer.status, 400 | 403 | 404 | 405), "{place}");
        return check_json(&place, &document()["components"]["schemas"]["Error"], answer, method);
    };
    let response = &operation["responses"][answer.status.to_string()];
    assert!(!response.is_null(), "{place}: no such status; {}", text(&answer.body));
    if matches!(answer.status, 429 | 503) {
        let wait = answer.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
        assert!(wait.is_some(), "{place}: no time to come back");
    }
    match &response["content"]["application/json"]["schema"] {
        Value::Null if response["content"].is_null() && !answer.body.is_empty() => {
            panic!("{place}: a body where none belongs")
        }
        Value::Null => {}
        schema => check_json(&place, schema, answer, method),
    }
}

fn check_json(place: &str, schema: &Value, answer: &Answer, method: &str) {
    if method == "HEAD" {
        return;
    }
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/json; charset=utf-8"), "{place}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{place}");
    if let Err(why) = valid(schema, &answer.json(), "$") {
        panic!("{place}: {why}; {}", text(&answer.body));
    }
}

/// Whether a path is one of a template such as `/api/disk/{folder}`.
fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template.zip(path).all(|(want, have)| want.starts_with('{') || want == have)
}

/// Whether `value` is what `schema` says; else where it is not.
fn valid(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |want: &dyn std::fmt::Debug| Err(format!("{at} is {value}, want {want:?}"));
    for (word, rule) in schema.as_object().ok_or_else(|| format!("{at}: no schema"))? {
        match (word.as_str(), rule) {
            ("description" | "default" | "format", _) => {}
            ("$ref", Value::String(name)) => {
                let name = name.strip_prefix("#/components/schemas/").expect("a local name");
                valid(&document()["components"]["schemas"][name], value, at)?;
            }
            ("anyOf", Value::Array(any)) => {
                if !any.iter().any(|schema| valid(schema, value, at).is_ok()) {
                    return wrong(&rule);
                }
            }
            ("type", Value::Array(any)) if any.iter().any(|t| has_type(t, value)) => {}
            ("type", one @ Value::String(_)) if has_type(one, value) => {}
            ("enum", Value::Array(any)) if any.contains(value) => {}
            ("const", _) if rule == value => {}
            ("pattern", Value::String(pattern)) => {
                if value.as_str().is_some_and(|text| !matches(pattern, text)) {
                    return wrong(&rule);
                }
            }
            // null beside a number: `type` says whether it may be.
            ("minimum", _) if value.is_null() || rule.as_u64() <= value.as_u64() => {}
            ("minLength", _) if rule.as_u64() <= length(value) => {}
            ("maxLength", _) if length(value) <= rule.as_u64() => {}
            ("properties", Value::Object(properties)) => {
                for (name, schema) in properties {
                    let Some(inner) = value.get(name) else { continue };
                    valid(schema, inner, &format!("{at}.{name}"))?;
                }
            }
            ("required", Value::Array(names)) => {
                if let Some(name) = names.iter().find(|n| value.get(n.as_str().unwrap()).is_none())
                {
                    return Err(format!("{at} lacks {name}"));
                }
            }
            ("additionalProperties", Value::Bool(false)) => {
                let known = &schema["properties"];
                let mut given = value.as_object().into_iter().flatten();
                if let Some((name, _)) = given.find(|(name, _)| known.get(name).is_none()) {
                    return Err(format!("{at} has {name:?}, which is not in the document"));
                }
            }
            ("items", schema) => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    valid(schema, item, &format!("{at}[{index}]"))?;
                }
            }
            _ => return wrong(&(word, rule)),
        }
    }
    Ok(())
}

fn has_type(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a type has a name") {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the validator does not know type {other}"),
    }
}

fn length(value: &Value) -> Option<u64> {
    Some(value.as_str()?.chars().count() as u64)
}

/// The two patterns that answers have.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[1-9][0-9]{0,19}$" => {
            text.len() <= 20
                && !text.is_empty()
                && !text.starts_with('0')
                && text.bytes().all(|b| b.is_ascii_digit())
        }
        "^[a-z_]+$" => {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        }
        other => panic!("the validator does not know pattern {other}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(300).collect()
}

#[test]
fn the_validator_refuses_what_is_not_in_the_document() {
    let error = &document()["components"]["schemas"]["Error"];
    let cases = [
        (r#"{"error":{"code":"a","message":"b"}}"#, true),
        (r#"{"error":{"code":"a","message":"b","field":"c"}}"#, true),
        (r#"{"error":{"code":"A","message":"b"}}"#, false),
        (r#"{"error":{"code":"a"}}"#, false),
        (r#"{"error":{"code":"a","message":1}}"#, false),
        (r#"{"error":{"code":"a","message":"b","stack":"c"}}"#, false),
        (r#"{}"#, false),
        (r#"[]"#, false),
    ];
    for (json, want) in cases {
        let value = serde_json::from_str(json).unwrap();
        assert_eq!(valid(error, &value, "$").is_ok(), want, "{json}");
    }
}

#[test]
fn what_the_document_does_not_list_fails() {
    let answer = |status: u16, headers: &[(&str, &str)], body: &str| Answer {
        status,
        headers: headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        body: body.as_bytes().to_vec(),
    };
    let json = [
        ("content-type", "application/json; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
    ];
    let error = r#"{"error":{"code":"unauthenticated","message":"sign in first"}}"#;
    let usage = r#"{"quota_bytes":1,"used_bytes":0,"trash_bytes":0,"categories":[]}"#;
    let more = r#"{"quota_bytes":1,"used_bytes":0,"trash_bytes":0,"categories":[],"secret":1}"#;
    let at = "/api/mydisk/usage";
    let retry = [json[0], json[1], ("retry-after", "5")];
    let cases: [(&str, &str, Answer, bool); 13] = [
        ("GET", at, answer(200, &json, usage), true),
        ("GET", at, answer(401, &json, error), true),
        ("GET", at, answer(503, &retry, error), true),
        ("GET", at, answer(200, &json, more), false),
        ("GET", at, answer(200, &json, r#"{"quota_bytes":1}"#), false),
        ("GET", at, answer(200, &json, ""), false),
        ("GET", at, answer(200, &json[..1], usage), false),
        ("GET", at, answer(200, &[("content-type", "text/html"), json[1]], usage), false),
        ("GET", at, answer(418, &json, error), false),
        ("GET", at, answer(500, &json, error), false),
        ("GET", at, answer(503, &json, error), false),
        ("DELETE", "/api/disk/1", answer(204, &[], "more"), false),
        ("GET", "/api/no/such/route", answer(200, &json, "{}"), false),
    ];
    for (method, path, answer, want) in cases {
        let checked = std::panic::catch_unwind(|| check(method, path, &answer));
        assert_eq!(checked.is_ok(), want, "{method} {path} {}", answer.status);
    }
}

#[test]
fn no_object_of_the_document_is_open_to_fields_it_does_not_list() {
    fn look(value: &Value, at: &str) {
        if value["properties"].is_object() {
            assert_eq!(value["additionalProperties"], Value::Bool(false), "{at}");
        }
        match value {
            Value::Object(map) => {
                // What a client may send is the workers' business.
                for (key, inner) in map.iter().filter(|(key, _)| *key != "requestBody") {
                    look(inner, &format!("{at}.{key}"));
                }
            }
            Value::Array(all) => all.iter().for_each(|v| look(v, at)),
            _ => {}
        }
    }
    look(&document()["components"]["schemas"], "schemas");
    look(&document()["paths"], "paths");
}

/// A path of a template: what stands for each parameter fits its schema and names nothing.
fn filled(template: &str, item: &Value, operation: &Value) -> String {
    let mut path = template.to_owned();
    let lists = [&item["parameters"], &operation["parameters"]];
    for parameter in lists.iter().filter_map(|list| list.as_array()).flatten() {
        let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
        let pattern = schema["pattern"].as_str().unwrap_or_default();
        let value = match (&schema["enum"][0], pattern.contains("{32}")) {
            (Value::String(word), _) => word.clone(),
            (_, true) => "0123456789abcdef".repeat(2),
            _ => "1".to_owned(),
        };
        path = path.replace(&format!("{{{name}}}"), &value);
    }
    path
}

#[test]
fn every_operation_that_asks_who_it_is_tells_how_it_refuses() {
    for (template, item) in document()["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let asks = verb != "parameters" && operation["security"].is_null();
            // Nobody, a token without the scope, too many wrong tokens.
            for status in ["401", "403", "429"].iter().filter(|_| asks) {
                assert!(operation["responses"][*status].is_object(), "{verb} {template}: {status}");
            }
        }
    }
}

#[test]
fn every_operation_of_the_document_is_served() {
    let mut seen = 0;
    for (template, item) in document()["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            if verb == "parameters" {
                continue;
            }
            let path = filled(template, item, operation);
            assert!(!path.contains('{'), "{template}: a parameter is not described");
            let method = verb.to_ascii_uppercase();
            let headers = [("Content-Type", "application/json")];
            let answer = crate::person::ask(crate::drive(), &method, &path, &headers, b"");
            let text = text(&answer.body);
            // Behind the route somebody looked at the request.
            let missing = text.contains("no_route") || text.contains("There is no such address");
            assert!(!missing && answer.status != 405, "{method} {path}: {text}");
            seen += 1;
        }
    }
    assert!(80 < seen, "{seen}");
}
