//! The exact value from blocks of products against dense singular values.

use crate::cases::{half_log_det, large, singular_values, small};
use autograd::Machine;
use livi::device::processor;
use livi::entropy::{Accumulation, GramPrograms, ResidentPrograms};

/// Memory that is short of `bytes` by one.
fn short_of(bytes: usize) -> Option<usize> {
    Some(bytes - 1)
}

#[test]
fn the_gram_matrix_gives_the_log_determinant_of_dense_singular_values() {
    for case in small().iter().chain(&large()) {
        let sampler = case.sampler.as_ref();
        let mut machine = GramPrograms::record(sampler, None).unwrap().load(&case.parameters, 2).unwrap();
        let values = singular_values(sampler, &case.parameters, &case.latent);
        let squares: f64 = values.iter().map(|s| s * s).sum();
        for sigma in [1.0, 0.03, 0.3] {
            machine.compute(&case.latent, &mut |_, _| ()).unwrap();
            let truth = half_log_det(&values, sigma);
            let found = machine.gram().factor(sigma).unwrap();
            let value = found.half_log_det();
            assert!((value - truth).abs() < 1e-10 * (1.0 + truth.abs()), "{}: {value} {truth}", case.name);
            assert!((found.frobenius_squared() / squares - 1.0).abs() < 1e-12, "{}", case.name);
        }
    }
}

#[test]
fn less_memory_gives_the_same_value_by_smaller_blocks_or_the_other_way_of_accumulation() {
    for case in &large() {
        let sampler = case.sampler.as_ref();
        let (mut memory, mut found) = (None, Vec::new());
        let mut ways = Vec::new();
        while let Ok(programs) = GramPrograms::record(sampler, memory) {
            memory = short_of(programs.bytes());
            ways.push((programs.accumulation(), programs.block()));
            let mut machine = programs.load(&case.parameters, 2).unwrap();
            machine.compute(&case.latent, &mut |_, _| ()).unwrap();
            found.push(machine.gram().factor(0.1).unwrap().half_log_det());
        }
        assert!(ways.len() > 4, "{}: {ways:?}", case.name);
        assert!(found.iter().all(|value| (value - found[0]).abs() < 1e-9 * found[0].abs()), "{}: {found:?}", case.name);
    }
}

#[test]
fn both_ways_of_accumulation_are_taken() {
    let ways: Vec<Accumulation> = large()
        .iter()
        .flat_map(|case| {
            let first = GramPrograms::record(case.sampler.as_ref(), None).unwrap();
            let second = GramPrograms::record(case.sampler.as_ref(), short_of(first.bytes())).unwrap();
            [first.accumulation(), second.accumulation()]
        })
        .collect();
    assert!(ways.contains(&Accumulation::Products) && ways.contains(&Accumulation::Stored), "{ways:?}");
}

#[test]
fn too_little_memory_is_refused_with_the_least_that_would_do() {
    let case = &large()[1];
    let error = GramPrograms::record(case.sampler.as_ref(), Some(1000)).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let livi::Error::Autograd(autograd::Error::Memory { needed, limit: 1000, .. }) = error else { panic!("{error}") };
    assert!(GramPrograms::record(case.sampler.as_ref(), Some(needed)).unwrap().bytes() <= needed);
    assert!(GramPrograms::record(case.sampler.as_ref(), short_of(needed)).is_err());
}

#[test]
fn progress_counts_unit_vectors_to_the_end() {
    let case = &large()[1];
    let mut machine = GramPrograms::record(case.sampler.as_ref(), None).unwrap().load(&case.parameters, 1).unwrap();
    let (mut heard, total) = (Vec::new(), machine.unit_vectors());
    machine.compute(&case.latent, &mut |done, of| heard.push((done, of))).unwrap();
    assert_eq!(heard.len(), total.div_ceil(machine.block()));
    assert_eq!(heard.last(), Some(&(total, total)));
}

#[test]
fn a_latent_of_a_wrong_length_is_refused() {
    let case = &small()[1];
    let mut machine = GramPrograms::record(case.sampler.as_ref(), None).unwrap().load(&case.parameters, 1).unwrap();
    let message = machine.compute(&[0.0; 5], &mut |_, _| ()).unwrap_err().to_string();
    assert_eq!(message, "latent: has 5 numbers, expected 6");
}

#[test]
fn a_gram_matrix_that_stays_with_its_machine_says_the_same() {
    for case in small().iter().chain(&large()) {
        let sampler = case.sampler.as_ref();
        let mut here = GramPrograms::record(sampler, None).unwrap().load(&case.parameters, 2).unwrap();
        here.compute(&case.latent, &mut |_, _| ()).unwrap();
        let expected = here.gram().factor(0.3).unwrap().figures();
        let mut memory = None;
        let mut ways = Vec::new();
        while let Ok(programs) = ResidentPrograms::record(sampler, memory) {
            memory = short_of(programs.bytes());
            ways.push(programs.accumulation());
            let machine = Machine::on(processor()).unwrap();
            let mut gram = programs.load(&case.parameters, machine).unwrap();
            let mut heard = (0, 1);
            gram.compute(&case.latent, &mut |done, of| heard = (done, of)).unwrap();
            assert_eq!(heard.0, heard.1, "{}", case.name);
            // A matrix serves any number of sigmas.
            gram.figures(2.0).unwrap();
            let found = gram.figures(0.3).unwrap();
            for (name, found, expected) in [
                ("half log-determinant", found.half_log_det, expected.half_log_det),
                ("inverse trace", found.inverse_trace, expected.inverse_trace),
                ("Frobenius norm", found.frobenius_squared, expected.frobenius_squared),
                ("row sum", found.largest_row_sum, expected.largest_row_sum),
            ] {
                let allowed = 1e-9 * (1.0 + expected.abs());
                assert!((found - expected).abs() < allowed, "{}, {name}: {found} {expected}", case.name);
            }
            // Every further block size says the same; one of each kind is enough.
            if ways.len() == 4 {
                break;
            }
        }
        assert!(!ways.is_empty(), "{}", case.name);
    }
}

#[test]
fn a_resident_matrix_refuses_a_sigma_and_a_latent_that_do_not_fit() {
    let case = &small()[1];
    let programs = ResidentPrograms::record(case.sampler.as_ref(), None).unwrap();
    let mut gram = programs.load(&case.parameters, Machine::on(processor()).unwrap()).unwrap();
    assert_eq!(gram.compute(&[0.0; 5], &mut |_, _| ()).unwrap_err().to_string(), "latent: has 5 numbers, expected 6");
    gram.compute(&case.latent, &mut |_, _| ()).unwrap();
    assert!(gram.figures(0.0).unwrap_err().to_string().starts_with("sigma: is 0"));
    let error = ResidentPrograms::record(case.sampler.as_ref(), Some(100)).unwrap_err();
    assert!(matches!(error, livi::Error::Autograd(autograd::Error::Memory { limit: 100, .. })), "{error}");
}
