//! The page of every code, the plan's and the runtime's too, for `hecc explain`.

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
    "HE0225", "HE0226", "HE0227",
    "HE0301", "HE0302", "HE0303", "HE0304", "HE0305",
    "HE0401", "HE0402", "HE0403", "HE0404", "HE0405",
    "HE0501", "HE0502", "HE0503", "HE0504", "HE0505", "HE0506", "HE0507", "HE0508", "HE0511", "HE0512", "HE0513", "HE0514", "HE0521", "HE0522", "HE0523", "HE0531",
    "HE0601", "HE0602", "HE0603", "HE0604", "HE0605", "HE0606", "HE0607", "HE0608", "HE0609", "HE0610", "HE0611", "HE0612", "HE0613", "HE0641",
    "HE0642", "HE0643", "HE0644", "HE0651", "HE0652", "HE0653", "HE0654", "HE0655", "HE0656", "HE0661", "HE0662", "HE0663", "HE0664",
    "HE0665", "HE0666", "HE0671", "HE0672",
    "HE0701", "HE0702", "HE0703",
    "HE0711", "HE0712", "HE0713", "HE0714", "HE0715", "HE0716",
}
