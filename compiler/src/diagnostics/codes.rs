//! The page of every code, for `hecc explain`.

macro_rules! pages {
    ($($code:literal),* $(,)?) => {
        /// Every code, in order.
        pub const CODES: &[&str] = &[$($code),*];

        /// The page of a code: what it means, an example, what to do.
        pub fn page(code: &str) -> Option<&'static str> {
            match code {
                $($code => Some(include_str!(concat!("pages/", $code, ".md"))),)*
                _ => None,
            }
        }
    };
}

pages! {
    "HE0101", "HE0102", "HE0103", "HE0104", "HE0105", "HE0106", "HE0107", "HE0108",
    "HE0201", "HE0202", "HE0203", "HE0204", "HE0205", "HE0206", "HE0207", "HE0208", "HE0209", "HE0210", "HE0211", "HE0212",
    "HE0213", "HE0214", "HE0215", "HE0216", "HE0217", "HE0218", "HE0219", "HE0220", "HE0221", "HE0222", "HE0223", "HE0224",
    "HE0225", "HE0226", "HE0227", "HE0301", "HE0302", "HE0401", "HE0402", "HE0403",
}
