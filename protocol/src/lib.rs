//! What brands say to each other, and what makes it true (sans-IO).
