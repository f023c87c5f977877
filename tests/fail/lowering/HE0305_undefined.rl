// Functions on arguments for which they have no value.
env "Other-v0" {
    observe s: [2] in [-1, 1]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] { dense 2 }

serve log(q(s)) + sqrt(s[0] * q(s)[0]) { batch = 2 }

secure ckks { secret = [s, q] }
