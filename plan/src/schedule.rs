//! The order and the time in which [`crate::drive()`] runs steps: a list schedule over threads.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// A job of a schedule.
#[derive(Clone, Debug)]
pub struct Job {
    /// Seconds on one thread alone.
    pub seconds: f64,
    /// Earlier jobs that it waits for.
    pub after: Vec<usize>,
}

/// When jobs ran.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// When each job started, in the order of the jobs.
    pub start: Vec<f64>,
    /// When each job ended.
    pub end: Vec<f64>,
    /// When the last one ended.
    pub seconds: f64,
}

/// A moment, for the heap.
#[derive(Clone, Copy, Debug, PartialEq)]
struct At(f64);

impl Eq for At {}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Runs `jobs` on `threads` threads: a free thread takes the first job whose predecessors are done. `slowdown(busy)` is
/// how much longer a job takes that starts when so many threads are busy, itself included.
pub fn simulate(jobs: &[Job], threads: usize, slowdown: impl Fn(usize) -> f64) -> Run {
    let mut waiting = vec![0usize; jobs.len()];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); jobs.len()];
    for (index, job) in jobs.iter().enumerate() {
        let mut after = job.after.clone();
        after.sort_unstable();
        after.dedup();
        waiting[index] = after.len();
        after.into_iter().for_each(|earlier| users[earlier].push(index));
    }
    let mut ready: BTreeSet<usize> = (0..jobs.len()).filter(|&index| waiting[index] == 0).collect();
    let mut running: BinaryHeap<Reverse<(At, usize)>> = BinaryHeap::new();
    let mut run = Run { start: vec![0.0; jobs.len()], end: vec![0.0; jobs.len()], seconds: 0.0 };
    loop {
        while running.len() < threads.max(1)
            && let Some(index) = ready.pop_first()
        {
            // As many work beside it as there is work for.
            let busy = (running.len() + 1 + ready.len()).min(threads.max(1));
            run.start[index] = run.seconds;
            run.end[index] = run.seconds + jobs[index].seconds * slowdown(busy);
            running.push(Reverse((At(run.end[index]), index)));
        }
        let Some(Reverse((At(now), done))) = running.pop() else { return run };
        run.seconds = now;
        for &user in &users[done] {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.insert(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(seconds: f64, after: &[usize]) -> Job {
        Job { seconds, after: after.to_vec() }
    }

    #[test]
    fn a_chain_gains_nothing_from_threads() {
        let jobs = [job(1.0, &[]), job(2.0, &[0]), job(3.0, &[1, 1])];
        assert_eq!(simulate(&jobs, 1, |_| 1.0).seconds, 6.0);
        assert_eq!(simulate(&jobs, 4, |_| 1.0).seconds, 6.0);
    }

    #[test]
    fn independent_jobs_share_the_threads_in_order() {
        let jobs = [job(3.0, &[]), job(1.0, &[]), job(1.0, &[]), job(2.0, &[1])];
        let run = simulate(&jobs, 2, |_| 1.0);
        assert_eq!((run.start.clone(), run.seconds), (vec![0.0, 0.0, 1.0, 2.0], 4.0));
        assert_eq!(simulate(&jobs, 2, |busy| if busy > 1 { 1.5 } else { 1.0 }).end[0], 4.5);
        assert_eq!(simulate(&jobs, 1, |_| 1.0).seconds, 7.0);
    }
}
