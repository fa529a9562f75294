"""Evaluation of a challenger, the gate, the champion's card, and the way back."""
