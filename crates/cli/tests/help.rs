//! Help, manual page and completions come out of one definition, and help fits a screen.

mod support;

use support::Place;

#[track_caller]
fn fits(args: &[&str]) {
    let help = Place::new().run(args).status(0).out;
    assert!(help.lines().count() <= 24, "{} lines:\n{help}", help.lines().count());
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn help_fits_24_lines_of_80_columns() {
    fits(&["--help"]);
    for command in ["run", "serve", "stop", "ls", "rm", "doctor", "bench", "completions", "man"] {
        fits(&[command, "--help"]);
    }
}

#[test]
fn the_manual_page_has_every_subcommand_and_no_helper() {
    let page = Place::new().run(&["man"]).status(0).out;
    for section in
        ["RING3 RUN", "RING3 SERVE", "RING3 STOP", "RING3 LS", "RING3 RM", "RING3 DOCTOR", "RING3 BENCH"]
    {
        assert!(page.contains(section), "no {section}:\n{page}");
    }
    assert!(!page.contains("RING3 BROKER"), "{page}");
}

#[test]
fn completions_are_there_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Place::new().run(&["completions", shell]).status(0).out;
        assert!(script.contains("doctor"), "{shell}:\n{script}");
    }
}

#[test]
fn doctor_has_one_line_for_each_thing() {
    let said = Place::new().run(&["doctor"]);
    for what in ["memfd", "futex", "pidfd", "seccomp", "ptrace", "descriptors"] {
        assert!(said.out.lines().any(|line| line.starts_with(what)), "no {what}: {said:#?}");
    }
}

#[test]
fn usage_errors_end_with_2() {
    let place = Place::new();
    place.run(&[]).status(2);
    place.run(&["run"]).status(2);
    place.run(&["run", "--limit", "msgmax=x", "--", "true"]).status(2);
    place.run(&["run", "--limit", "nosuch=1", "--", "true"]).status(2);
    place.run(&["run", "--limit", "sem=1,2,3", "--", "true"]).status(2);
    place.run(&["bench", "nosuch"]).status(2);
    place.run(&["serve", "../up"]).status(2);
}
