//! Sets of nodes that share their common parts, as partial solutions of a search have them.

/// A set, or the empty one.
pub(super) type Trail = Option<u32>;

/// All sets of one search.
#[derive(Default)]
pub(super) struct Trails {
    links: Vec<Link>,
}

enum Link {
    Node(usize, Trail),
    Both(u32, u32),
}

impl Trails {
    /// `rest` and a node.
    pub(super) fn with(&mut self, node: usize, rest: Trail) -> Trail {
        self.push(Link::Node(node, rest))
    }

    /// Both sets.
    pub(super) fn both(&mut self, a: Trail, b: Trail) -> Trail {
        match (a, b) {
            (Some(a), Some(b)) => self.push(Link::Both(a, b)),
            (one, other) => one.or(other),
        }
    }

    fn push(&mut self, link: Link) -> Trail {
        self.links.push(link);
        Some(self.links.len() as u32 - 1)
    }

    /// Marks the nodes of a set among `count`.
    pub(super) fn marks(&self, trail: Trail, count: usize) -> Vec<bool> {
        let mut marks = vec![false; count];
        let mut open: Vec<u32> = trail.into_iter().collect();
        while let Some(at) = open.pop() {
            match self.links[at as usize] {
                Link::Node(node, rest) => {
                    marks[node] = true;
                    open.extend(rest);
                }
                Link::Both(a, b) => open.extend([a, b]),
            }
        }
        marks
    }
}
