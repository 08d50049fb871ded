from eventrunner.cli.main import main

main()
