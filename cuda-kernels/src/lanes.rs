//! Tasks spread over lanes that a card runs side by side: each lane runs its tasks in a row, and waits for those of others where it must.

use crate::Task;

/// Where a task runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lane: usize,
    /// Tasks of other lanes that the lane waits for before it; what it knows to be done is not among them.
    pub(crate) waits: Vec<usize>,
}

/// Places for tasks on so many lanes. A task continues the lane of one it waits for where that was the last one there, else it takes the lane whose last
/// task lies farthest back.
pub(crate) fn places(tasks: &[Task], lanes: usize) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(tasks.len());
    // For each task and lane, one past the last task of that lane which is done once the task is.
    let mut done: Vec<Vec<usize>> = Vec::with_capacity(tasks.len());
    let mut last: Vec<Option<usize>> = vec![None; lanes];
    for (number, task) in tasks.iter().enumerate() {
        let mut lanes_of_former = task.after.iter().rev().map(|&other| places[other].lane);
        let continued = lanes_of_former.find(|&lane| last[lane].is_some_and(|last| task.after.contains(&last)));
        let lane =
            continued.or_else(|| (0..lanes).min_by_key(|&lane| last[lane].map_or(0, |last| last + 1))).unwrap_or(0);
        let mut known = last[lane].map_or_else(|| vec![0; lanes], |last| done[last].clone());
        let mut waits = Vec::new();
        // Later tasks first: they imply earlier ones.
        for &other in task.after.iter().rev() {
            if known[places[other].lane] <= other {
                waits.push(other);
                for (known, done) in known.iter_mut().zip(&done[other]) {
                    *known = (*known).max(*done);
                }
            }
        }
        known[lane] = number + 1;
        last[lane] = Some(number);
        places.push(Place { lane, waits });
        done.push(known);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(after: &[&[usize]]) -> Vec<Task> {
        after.iter().map(|after| Task { commands: Vec::new(), after: after.to_vec() }).collect()
    }

    /// For each task all that are surely done before it starts.
    fn before(places: &[Place]) -> Vec<Vec<bool>> {
        let mut before: Vec<Vec<bool>> = Vec::new();
        for (number, place) in places.iter().enumerate() {
            let mut own = vec![false; number];
            let former = (0..number).rev().find(|&other| places[other].lane == place.lane);
            for other in place.waits.iter().copied().chain(former) {
                own[other] = true;
                (0..other).for_each(|k| own[k] |= before[other][k]);
            }
            before.push(own);
        }
        before
    }

    #[test]
    fn every_task_starts_after_those_it_waits_for() {
        let mut state = 1_u64;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        for lanes in 1..5 {
            for _ in 0..50 {
                let tasks: Vec<Task> = (0..40)
                    .map(|number| {
                        let mut after: Vec<usize> =
                            (0..if number == 0 { 0 } else { below(4) }).map(|_| below(number)).collect();
                        after.sort_unstable();
                        after.dedup();
                        Task { commands: Vec::new(), after }
                    })
                    .collect();
                let places = places(&tasks, lanes);
                let before = before(&places);
                for (number, task) in tasks.iter().enumerate() {
                    assert!(places[number].lane < lanes);
                    assert!(task.after.iter().all(|&other| before[number][other]), "{lanes} lanes: {places:?}");
                    // Nothing is waited for that is known to be done.
                    let waits = &places[number].waits;
                    assert!(waits.iter().all(|&other| places[other].lane != places[number].lane));
                }
            }
        }
    }

    #[test]
    fn independent_tasks_take_lanes_of_their_own_and_chains_stay_in_one() {
        let places = places(&tasks(&[&[], &[], &[], &[0], &[1], &[2], &[3, 4, 5]]), 4);
        let lanes: Vec<usize> = places.iter().map(|place| place.lane).collect();
        assert_eq!(lanes, [0, 1, 2, 0, 1, 2, 2]);
        assert_eq!(places[6].waits, [4, 3]);
        assert!(places[..6].iter().all(|place| place.waits.is_empty()));
    }

    #[test]
    fn a_single_lane_waits_for_nothing() {
        let places = places(&tasks(&[&[], &[0], &[0, 1], &[]]), 1);
        assert!(places.iter().all(|place| *place == Place { lane: 0, waits: Vec::new() }));
    }
}
