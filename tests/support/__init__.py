"""What several tests share: generated programs, trees and texts, and ways to run programs."""
