"""AppArmor's denials: read, grouped, put into words, and the rules that would allow them."""
