//! Help texts.

use super::support::livi;
use std::path::Path;

const COMMANDS: [&[&str]; 9] = [
    &["train"],
    &["verify"],
    &["evaluate"],
    &["predict"],
    &["sample"],
    &["data"],
    &["data", "fetch"],
    &["data", "check"],
    &["info"],
];

#[test]
fn every_command_has_a_description_and_an_example() {
    for command in COMMANDS {
        let help = livi(Path::new("."), &[command, &["--help"]].concat()).succeeded();
        let example = format!("\n  livi {}", command.join(" "));
        assert!(help.contains("Example") && help.contains(&example), "{command:?}: {help}");
        let description = help.lines().next().unwrap_or_default();
        assert!(description.len() > 20, "{command:?}: {description}");
    }
}

#[test]
fn mixtures_scales_and_validation_reports_are_told_of() {
    let help = livi(Path::new("."), &["train", "--help"]).succeeded();
    for word in ["training.components", "sampler.learned_scales", "data.report_on=validation", "--splits"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let help = livi(Path::new("."), &["verify", "--help"]).succeeded();
    assert!(help.contains("\n  livi verify runs/uci-energy-1 --component 3"), "{help}");
}

#[test]
fn the_program_lists_its_commands_and_exit_codes() {
    let help = livi(Path::new("."), &["--help"]).succeeded();
    for word in ["train", "verify", "evaluate", "predict", "sample", "data", "info", "Exit codes"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn the_version_is_the_crates() {
    assert_eq!(livi(Path::new("."), &["--version"]).succeeded(), format!("livi {}\n", env!("CARGO_PKG_VERSION")));
}
