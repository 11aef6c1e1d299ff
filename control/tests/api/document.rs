//! The committed document is that of the code.

use serde_json::Value;

pub(crate) const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[test]
fn the_committed_document_is_that_of_the_code() {
    let made = nucleus_control::api::document() + "\n";
    if std::env::var_os("NUCLEUS_WRITE_OPENAPI").is_some() {
        std::fs::write(FILE, &made).unwrap();
    }
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    let hint = "NUCLEUS_WRITE_OPENAPI=1 cargo test -p nucleus-control --test api document";
    assert!(committed == made, "control/openapi.json is another one; to write it:\n    {hint}");
}

#[test]
fn every_route_names_its_scope_and_its_errors() {
    let document: Value = serde_json::from_str(&nucleus_control::api::document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 10, "{}", paths.len());
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert_eq!(operation["security"][0]["key"].as_array().unwrap().len(), 1, "{name}");
            for status in ["400", "401", "403", "429", "503"] {
                let content = &operation["responses"][status]["content"];
                assert!(content["application/problem+json"].is_object(), "{name}: {status}");
            }
            assert!(!path.contains('{') || operation["responses"]["404"].is_object(), "{name}");
            assert!(operation["operationId"].is_string(), "{name}");
        }
    }
}
