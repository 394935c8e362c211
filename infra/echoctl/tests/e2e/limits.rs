//! What may not grow unseen: the binaries' size, and the round trips of a request.

use std::process::Command;

use super::stack::root;

#[test]
fn binaries_and_round_trips_are_within_their_limits() {
    let output = Command::new(env!("CARGO_BIN_EXE_echoctl"))
        .args(["bench", "cold", "--check", "--samples", "1", "--json"])
        .current_dir(root())
        .output()
        .unwrap();
    let (found, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let found: serde_json::Value = serde_json::from_str(found.lines().last().unwrap()).unwrap();
    assert_eq!(found["functions"].as_object().unwrap().len(), 7);
}
