"""What several tests share: generated programs, weight trees and texts, and ways to run programs."""
