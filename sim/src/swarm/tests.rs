use super::*;

/// A few seeds wherever tests run; CI runs hundreds through the binary.
const SEEDS: u64 = 12;

#[test]
fn the_first_seeds_break_no_law() {
    for seed in 0..SEEDS {
        let verdict = run(seed, false);
        assert!(
            verdict.breaches.is_empty(),
            "cargo xtask sim {seed}: {}",
            verdict.breaches.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        );
    }
}

#[test]
fn two_runs_of_a_seed_are_one_run() {
    for seed in [1, 2] {
        assert_eq!(run(seed, false), run(seed, false));
    }
    assert_ne!(run(1, false).trace, run(2, false).trace);
}

#[test]
fn every_feature_is_on_in_some_worlds_and_off_in_others() {
    let features: Vec<String> =
        (0..200).map(|seed| format!("{:?}", Features::roll(&mut Seed(seed).dice("features", 0)))).collect();
    let names = features[0].matches(": ").count();
    let on: usize = features.iter().map(|features| features.matches(": true").count()).sum();
    assert!(names > 10 && on > 200 && on < 200 * names);
    for part in features[0].trim_start_matches("Features { ").trim_end_matches(" }").split(", ") {
        let (name, _) = part.split_once(": ").unwrap();
        for value in [true, false] {
            let wanted = format!("{name}: {value}");
            assert!(features.iter().any(|features| features.contains(&wanted)), "never {wanted}");
        }
    }
}

#[test]
fn a_world_without_faults_excuses_no_mishap() {
    assert!(!Features::default().excuse_mishaps());
    assert!(Features { loss: true, ..Features::default() }.excuse_mishaps());
    assert!(Features { disk_errors: true, ..Features::default() }.excuse_mishaps());
}
