//! The OpenAPI document is committed, and is what the server gives.

/// Set to write the document anew.
const UPDATE: &str = "BERTH_UPDATE_OPENAPI";

#[test]
fn the_committed_openapi_document_is_the_servers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let document = berth_server::openapi();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == document, "docs/openapi.json is out of date: run this test with {UPDATE}=1 and commit it");
}
