"""Ways to damage a file: functions of its bytes and a random generator, that give a Mutant."""
